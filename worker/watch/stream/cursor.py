"""A server cursor read batch by batch by commands: what is there now comes at once, in one answer.

The drivers' change streams hand out one change at a time and cannot say whether another is at hand without
waiting for it. Here a whole answer is one batch: it is full while the reader is behind and small when it is
not, so batches adapt by themselves, and the token after the batch comes with it.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from pymongo.asynchronous.client_session import AsyncClientSession

from worker.errors import HistoryLost, Refused, WorkerError
from worker.storage import driver
from worker.storage.database import READ_CONCERN, Collection, Document
from worker.storage.errors import translated
from worker.storage.reading import command


class ServerCursor:
    """One open cursor; not safe to use from two tasks at once. Close it, or it lives ten minutes more."""

    def __init__(self, collection: Collection, session: AsyncClientSession, reply: Mapping[str, Any]) -> None:
        self._home = collection.database
        # The name further commands use; another than the collection's where the cursor spans the database.
        self._name = reply["cursor"]["ns"].partition(".")[2]
        self._session = session
        self._id = reply["cursor"]["id"]
        self.opened_at_s: int = reply["operationTime"].time
        self.token: Mapping[str, Any] | None = reply["cursor"].get("postBatchResumeToken")
        self.invalidated = False

    @classmethod
    async def open(
        cls, collection: Collection, pipeline: Sequence[Mapping[str, Any]], *, whole_database: bool = False
    ) -> "ServerCursor":
        """Open it on the server, on the collection or on all of its database; nothing is read yet.

        Reads what a majority has.
        """
        with translated():
            session = await driver.start_session(collection.database.client)
            try:
                reply = await command(
                    collection.database,
                    "aggregate",
                    1 if whole_database else collection.name,
                    pipeline=list(pipeline),
                    cursor={"batchSize": 0},
                    readConcern=READ_CONCERN.document,
                    session=session,
                )
            except BaseException:
                await session.end_session()
                raise
        return cls(collection, session, reply)

    @property
    def exhausted(self) -> bool:
        """True once the server closed the cursor: all was read, or the change stream was invalidated."""
        return not self._id

    async def next_batch(self, size: int, *, await_ms: int | None = None) -> list[Document]:
        """What is there, at most `size` documents; of a change stream, empty after `await_ms` without any.

        Documents come as far as they can be shown: a change may name any `_id`. Raises HistoryLost where the server
        cannot hand out a change, or nobody can read it.
        """
        wanted: Document = {"getMore": self._id, "collection": self._name, "batchSize": size}
        if await_ms is not None:
            wanted["maxTimeMS"] = await_ms
        try:
            with translated():
                reply = await command(self._home, wanted, session=self._session)
        except Refused as error:
            # A change larger than a document may be: what lies behind it must be compared.
            raise HistoryLost(f"the server cannot hand out what comes next: {error}") from error
        cursor = reply["cursor"]
        self._id = cursor["id"]
        self.token = cursor.get("postBatchResumeToken") or self.token
        self.invalidated = bool(cursor.get("invalidated"))
        return cast(list[Document], cursor["nextBatch"])

    async def close(self) -> None:
        """End it on the server, which otherwise ends it by itself. May be called twice; never raises."""
        cursor_id, self._id = self._id, 0
        if cursor_id:
            with suppress(WorkerError), translated():
                await self._home.command(
                    "killCursors", self._name, cursors=[cursor_id], session=self._session
                )
        await self._session.end_session()
