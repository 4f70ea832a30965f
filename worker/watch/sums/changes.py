"""The change stream of counting: which records moved, and which courses and users must be rebuilt.

One stream over the whole content database, so that one token says how far everything is. A course or user is
rebuilt when its document appears or is replaced, when somebody else writes to the worker's fields of `stats`
or to the activity log, however (the platform's own enrolment may, or an ORM that saves what it loaded a minute
ago), when a course changes its instructor, and when a course is deleted (its instructor loses it). A collection
that is dropped, or put in place of another by a rename (as `$out` does), ends the stream: everything is compared.

Our own writes come back, too. They are told by the session of our transactions, whatever they set: a document
that somebody overwrote wakes us even where it looks like ours.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from bson import ObjectId
from bson.binary import Binary

from projections.counts import Counted, course_stats, user_stats
from worker.errors import Fatal, HistoryLost, Misconfigured, Refused, UnknownAnswer
from worker.storage.database import Database, Document
from worker.storage.leases import Token
from worker.watch.stream.change_stream import Invalidated
from worker.watch.stream.cursor import ServerCursor
from worker.watch.stream.resume_token import ahead
from worker.watch.sums.counting import DirtyKeys

_RECORDS, _COURSES, _USERS = "user_progress", "courses", "users"
_GONE = ("drop", "rename", "dropDatabase")


class RecordStream:
    """An open change stream; the token moves along with `next`."""

    def __init__(self, cursor: ServerCursor, token: Token) -> None:
        self._cursor = cursor
        self.token = token
        self.changes = 0

    @classmethod
    async def open(
        cls, database: Database, *, after: Token | None = None, own: Iterable[UUID] = ()
    ) -> "RecordStream":
        """Open after a token, or now. Whatever is stored later is seen, but for statistics that we wrote.

        `own` are the sessions whose transactions are ours.

        Raises HistoryLost where the server cannot go on from `after`, for whatever reason it states.
        """
        try:
            cursor = await ServerCursor.open(
                database.user_progress, _pipeline(after, own), whole_database=True
            )
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

    async def next(self, limit: int, *, await_ms: int) -> DirtyKeys:
        """What moved, up to `limit` changes (`changes` says how many); empty if nothing did within `await_ms`.

        Raises Retryable (open again after `token`), HistoryLost, or Invalidated.
        """
        changes = await self._cursor.next_batch(limit, await_ms=await_ms)
        if self._cursor.token is not None:
            self.token = self._cursor.token
        self.changes = len(changes)
        if self._cursor.exhausted or any(change["operationType"] in _GONE for change in changes):
            raise Invalidated("a collection was dropped or renamed under the change stream")
        return dirty_keys(changes)

    async def close(self) -> None:
        await self._cursor.close()


def dirty_keys(changes: Sequence[Mapping[str, Any]]) -> DirtyKeys:
    """The projected changes by collection, each document once."""
    moved: dict[str, set[ObjectId]] = {_RECORDS: set(), _COURSES: set(), _USERS: set()}
    for change in changes:
        identity = change["identity"]
        if isinstance(identity, ObjectId):
            moved[change["collection"]].add(identity)
    return DirtyKeys(frozenset(moved[_RECORDS]), frozenset(moved[_COURSES]), frozenset(moved[_USERS]))


def _pipeline(after: Token | None, own: Iterable[UUID]) -> list[Document]:
    """Which collection first: the server asks this of every entry of the oplog, and of few entries the rest."""
    # startAfter, not resumeAfter: it also takes the token of an invalidated stream.
    start: Document = {} if after is None else {"startAfter": dict(after)}
    concerned = {"ns.coll": {"$in": [_RECORDS, _COURSES, _USERS]}}
    return [
        {"$changeStream": start},
        # A rename is named after the collection that goes, and so is what `$out` does at its end.
        {"$match": {"$or": [concerned, {"operationType": {"$in": ["rename", "dropDatabase"]}}]}},
        {
            "$project": {
                "operationType": 1,
                "collection": "$ns.coll",
                "onto": "$to.coll",
                "session": "$lsid.id",
                "identity": "$documentKey._id",
                "names": {"$cond": [{"$eq": ["$ns.coll", _RECORDS]}, [], _NAMES]},
            }
        },
        {"$match": {"$or": _wanted(own)}},
        {"$unset": ["onto", "session", "names"]},
    ]


def _of_array(array: Document | str, field: str) -> Document:
    return {"$map": {"input": array, "in": f"$$this.{field}"}}


def _or_empty(path: str, empty: Any) -> Document:
    return {"$ifNull": [f"$updateDescription.{path}", empty]}


# The paths an update set, removed, or cut short, each as one dotted name; their values stay on the server.
_NAMES: Document = {
    "$concatArrays": [
        _of_array({"$objectToArray": _or_empty("updatedFields", {})}, "k"),
        _or_empty("removedFields", []),
        _of_array(_or_empty("truncatedArrays", []), "field"),
    ]
}
_SUMMED = [_COURSES, _USERS]
_OURS = {_COURSES: course_stats(Counted()), _USERS: user_stats(Counted(), Counted())}


def _wanted(own: Iterable[UUID]) -> list[Document]:
    by_others = {"session": {"$nin": [Binary.from_uuid(each) for each in own]}}
    return [
        {"collection": _RECORDS, "operationType": {"$in": ["insert", "update", "replace", "delete"]}},
        {"collection": {"$in": _SUMMED}, "operationType": {"$in": ["insert", "replace"]}},
        {"collection": _COURSES, "operationType": "delete"},
        _updated(_COURSES, r"instructor_id|instructor(\.user_id)?"),
        {**_updated(_COURSES, _shown(_COURSES)), **by_others},
        {**_updated(_USERS, _shown(_USERS)), **by_others},
        {**_updated(_USERS, r"activity_log(\..+)?"), **by_others},
        {"operationType": {"$in": ["drop", "rename"]}, "collection": {"$in": [_RECORDS, *_SUMMED]}},
        {"operationType": "rename", "onto": {"$in": [_RECORDS, *_SUMMED]}},
        {"operationType": "dropDatabase"},
    ]


def _updated(collection: str, names: str) -> Document:
    """An update that set or removed one of the paths that the expression matches."""
    return {"collection": collection, "operationType": "update", "names": {"$regex": f"(?s)^({names})$"}}


def _shown(collection: str) -> str:
    """`stats` as a whole, or one of the worker's fields of it, or a part of one."""
    return rf"stats(\.({'|'.join(sorted(_OURS[collection]))})(\..+)?)?"
