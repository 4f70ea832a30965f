"""The change stream of counting: which records moved, and which courses and users must be summed anew.

One stream over the whole content database, so that one token says how far everything is. A course or user is
summed anew when its document appears or is replaced, when somebody else writes to the worker's fields of `stats`
(as the platform's own enrolment may), when a course changes its instructor, and when a course is deleted (its
instructor loses it).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bson import ObjectId

from projections.counts import Counted, course_stats, user_stats
from worker.errors import Fatal, HistoryLost, Misconfigured, Refused, UnknownAnswer
from worker.storage.database import Database, Document
from worker.storage.leases import Token
from worker.watch.counts import Woken
from worker.watch.cursor import ServerCursor
from worker.watch.stream import Invalidated
from worker.watch.token import ahead

_RECORDS, _COURSES, _USERS = "user_progress", "courses", "users"
_GONE = ("drop", "rename", "dropDatabase")


class RecordStream:
    """An open change stream; the token moves along with `next`."""

    def __init__(self, cursor: ServerCursor, token: Token) -> None:
        self._cursor = cursor
        self.token = token
        self.changes = 0

    @classmethod
    async def open(cls, database: Database, *, after: Token | None = None) -> "RecordStream":
        """Open after a token, or now. Whatever is stored later is seen.

        Raises HistoryLost where the server cannot go on from `after`, for whatever reason it states.
        """
        try:
            cursor = await ServerCursor.open(database.user_progress, _pipeline(after), whole_database=True)
        except Misconfigured:
            raise
        except (Refused, Fatal, UnknownAnswer) as error:  # unknown: without a token it is waited for
            if after is None:
                raise
            raise HistoryLost(f"the server does not take the resume token: {error}") from error
        if cursor.token is None:
            await cursor.close()
            raise Misconfigured("the server sends no postBatchResumeToken: MongoDB 6.0 or later is needed")
        if after is not None and ahead(after, cursor.opened_at_s):
            await cursor.close()
            raise HistoryLost("the resume token lies in the server's future")
        return cls(cursor, cursor.token)

    @property
    def opened_at_s(self) -> int:
        """The server's cluster time at opening, Unix seconds: a token beyond it is not of this history."""
        return self._cursor.opened_at_s

    async def next(self, limit: int, *, await_ms: int) -> Woken:
        """What moved, up to `limit` changes (`changes` says how many); empty if nothing did within `await_ms`.

        Raises Retryable (open again after `token`), HistoryLost, or Invalidated.
        """
        changes = await self._cursor.next_batch(limit, await_ms=await_ms)
        if self._cursor.token is not None:
            self.token = self._cursor.token
        self.changes = len(changes)
        if self._cursor.exhausted or any(change["operationType"] in _GONE for change in changes):
            raise Invalidated("a collection was dropped or renamed under the change stream")
        return woken(changes)

    async def close(self) -> None:
        await self._cursor.close()


def woken(changes: Sequence[Mapping[str, Any]]) -> Woken:
    """The projected changes by collection, each document once."""
    moved: dict[str, set[ObjectId]] = {_RECORDS: set(), _COURSES: set(), _USERS: set()}
    for change in changes:
        identity = change["identity"]
        if isinstance(identity, ObjectId):
            moved[change["collection"]].add(identity)
    return Woken(frozenset(moved[_RECORDS]), frozenset(moved[_COURSES]), frozenset(moved[_USERS]))


def _pipeline(after: Token | None) -> list[Document]:
    """Which collection first: the server asks this of every entry of the oplog, and of few entries the rest."""
    # startAfter, not resumeAfter: it also takes the token of an invalidated stream.
    start: Document = {} if after is None else {"startAfter": dict(after)}
    concerned = {"ns.coll": {"$in": [_RECORDS, _COURSES, _USERS]}}
    return [
        {"$changeStream": start},
        {"$match": {"$or": [concerned, {"operationType": "dropDatabase"}]}},
        {
            "$project": {
                "operationType": 1,
                "collection": "$ns.coll",
                "identity": "$documentKey._id",
                # What an update set, as {k: name, v: value}, and what it removed. A path has one, dotted name.
                "set": {"$objectToArray": {"$ifNull": ["$updateDescription.updatedFields", {}]}},
                "removed": {"$ifNull": ["$updateDescription.removedFields", []]},
            }
        },
        {"$match": {"$or": list(_WANTED)}},
        {"$unset": ["set", "removed"]},
    ]


def _updated(*paths: str) -> Document:
    """An update that set or removed one of the paths as a whole."""
    names = {"$in": list(paths)}
    return {"operationType": "update", "$or": [{"set.k": names}, {"removed": names}]}


def _shown() -> Document:
    """An update of what the worker shows, or of a part of it, that leaves the sums as they are.

    Whatever moves the sums is the worker's own. Where it only repairs what is shown it meets its own update once
    more, and finds nothing to do.
    """
    fields = (course_stats(Counted()) | user_stats(Counted(), Counted())).keys() - {"sums"}
    ours = rf"^stats\.({'|'.join(sorted(fields))})(\.|$)"
    return {"operationType": "update", "set.k": {"$regex": ours, "$not": {"$eq": "stats.sums"}}}


_SUMMED = {"$in": [_COURSES, _USERS]}
_WANTED: tuple[Document, ...] = (
    {"collection": _RECORDS, "operationType": {"$in": ["insert", "update", "replace"]}},
    {"collection": _SUMMED, "operationType": {"$in": ["insert", "replace"]}},
    {"collection": _COURSES, "operationType": "delete"},
    {"collection": _COURSES, **_updated("instructor_id", "instructor", "instructor.user_id")},
    # Overwritten by somebody else: our own updates leave the sums in, or set them.
    {"collection": _SUMMED, "set": {"$elemMatch": {"k": "stats", "v.sums": {"$exists": False}}}},
    {"collection": _SUMMED, **_shown()},
    {"collection": _SUMMED, "removed": {"$in": ["stats", "stats.sums"]}},
    {"operationType": {"$in": list(_GONE)}},
)
