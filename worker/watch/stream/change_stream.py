"""The change stream over the event store: it tells which streams moved, and nothing else is taken from it.

Proof of life: the token moves even when nothing is stored, because every member renews its membership with a
majority write every few seconds and the stream leaves out it. A token that stands still for longer means
that the majority is lost: the stream is silent, not idle. No heartbeat document is needed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from worker.errors import Fatal, HistoryLost, Misconfigured, Refused, UnknownAnswer
from worker.storage.database import Database, Document
from worker.storage.leases import Token
from worker.watch.stream.cursor import ServerCursor
from worker.watch.stream.resume_token import ahead, token_moment


class Invalidated(HistoryLost):
    """The collection was dropped or renamed: the stream is over, and what follows must be compared."""


@dataclass(frozen=True, slots=True)
class ChangedStreams:
    """The streams that moved, with the highest version seen of each, and how many changes said so."""

    heads: Mapping[str, int]
    changes: int


class EventStream:
    """An open change stream of the inserts into some slots of `course_events`."""

    def __init__(self, cursor: ServerCursor, token: Token) -> None:
        self._cursor = cursor
        self.token = token

    @classmethod
    async def open(
        cls, database: Database, slots: Iterable[int], *, after: Token | None = None
    ) -> "EventStream":
        """Open after a token, or now. Whatever is stored later is seen.

        Raises HistoryLost where the server cannot go on from `after`, for whatever reason it states.
        """
        try:
            cursor = await ServerCursor.open(database.course_events, _pipeline(slots, after))
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

    async def next(self, limit: int, *, await_ms: int) -> ChangedStreams:
        """What moved, up to `limit` changes; empty if nothing did within `await_ms`. Moves `token` along.

        Raises Retryable (open again after `token`), HistoryLost, or Invalidated.
        """
        changes = await self._cursor.next_batch(limit, await_ms=await_ms)
        if self._cursor.token is not None:
            self.token = self._cursor.token
        if self._cursor.exhausted:
            raise Invalidated("the event store was dropped or renamed under the change stream")
        return ChangedStreams(highest(changes), len(changes))

    async def close(self) -> None:
        await self._cursor.close()


def highest(changes: Sequence[Document]) -> dict[str, int]:
    """The highest version of each stream among the projected changes."""
    heads: dict[str, int] = {}
    for change in changes:
        stream, version = change["stream_id"], change["version"]
        if version > heads.get(stream, 0):
            heads[stream] = version
    return heads


def _pipeline(slots: Iterable[int], after: Token | None) -> list[Document]:
    # By time, not by token: a token may be that of one event, and a stream that filters this event out, because its
    # slot is another worker's now, cannot resume after it (code 280). Time is inclusive; repeats are harmless.
    moment = None if after is None else token_moment(after)
    start: Document = {} if moment is None else {"startAtOperationTime": moment}
    return [
        {"$changeStream": start},
        {"$match": {"operationType": "insert", "fullDocument.slot": {"$in": list(slots)}}},
        {"$project": {"stream_id": "$fullDocument.stream_id", "version": "$fullDocument.version"}},
    ]
