"""The change stream as every follower opens it: what moved, and how far everything is.

Nothing but keys is taken from it. Proof of life: the token moves even when nothing is stored, because every member
renews its membership with a majority write every few seconds and the stream passes over it. A token that stands
still for longer means that the majority is lost: the stream is silent, not idle. No heartbeat document is needed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from worker.errors import Fatal, HistoryLost, Misconfigured, Refused, UnknownAnswer
from worker.storage.database import Collection, Document
from worker.storage.leases import Token
from worker.timing import cancel_and_wait_shielded
from worker.watch.stream.cursor import ServerCursor
from worker.watch.stream.resume_token import ahead

_GONE = ("drop", "rename", "dropDatabase")
# Where the batch before was full there is more, or the reader has come to the end this very moment.
_AHEAD_MS = 1


class Invalidated(HistoryLost):
    """A collection was dropped or renamed: the stream is over, and what follows must be compared."""


class ChangeStream:
    """An open change stream; `token` moves along with `next`, however far is read ahead."""

    def __init__(self, cursor: ServerCursor, token: Token) -> None:
        self._cursor = cursor
        self.token = token
        self._ahead: asyncio.Task[list[Document]] | None = None

    @classmethod
    async def open(
        cls,
        collection: Collection,
        pipeline: Sequence[Mapping[str, Any]],
        *,
        after: Token | None,
        whole_database: bool = False,
    ) -> "ChangeStream":
        """Open it by a pipeline that goes on `after` a token, or begins now. Whatever is stored later is seen.

        Raises HistoryLost where the server cannot go on from there, for whatever reason it states.
        """
        try:
            cursor = await ServerCursor.open(collection, pipeline, whole_database=whole_database)
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

    async def next(self, limit: int, *, await_ms: int) -> Sequence[Document]:
        """The changes as the pipeline shows them, `limit` at most; none if nothing moved within `await_ms`.

        Raises Retryable (open again after `token`), HistoryLost, or Invalidated.
        """
        if self._ahead is None:
            changes = await self._cursor.next_batch(limit, await_ms=await_ms)
        else:
            changes = await self._ahead
            self._ahead = None
        if self._cursor.token is not None:
            self.token = self._cursor.token
        if self._cursor.exhausted or any(change.get("operationType") in _GONE for change in changes):
            raise Invalidated("a collection was dropped or renamed under the change stream")
        return changes

    def read_ahead(self, limit: int) -> None:
        """Begin to read what `next` will hand out, while what it has handed out takes effect."""
        self._ahead = asyncio.create_task(self._cursor.next_batch(limit, await_ms=_AHEAD_MS))

    async def close(self) -> None:
        """End it; what was read ahead is let go. May be called twice."""
        if self._ahead is not None:
            await cancel_and_wait_shielded(self._ahead)
        await self._cursor.close()
