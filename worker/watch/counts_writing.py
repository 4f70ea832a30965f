"""Bulk writes within a transaction, in which one document that cannot be written must not stop the others."""

from collections.abc import Sequence

from pymongo import InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError
from pymongo.results import BulkWriteResult

from worker.errors import Retryable, WorkerError
from worker.storage.database import Collection, Document
from worker.storage.errors import translated, write_failures
from worker.storage.transactions import Session
from worker.watch.counts_plan import Target

Write = InsertOne[Document] | ReplaceOne[Document] | UpdateOne


class Unwritable(WorkerError):
    """The server refuses one document for its content; the transaction is over and may run without `target`."""

    def __init__(self, target: Target, reason: str) -> None:
        super().__init__(reason)
        self.target = target


async def write_each(
    collection: Collection, writes: Sequence[tuple[Target, Write]], session: Session
) -> BulkWriteResult | None:
    """Send all writes, each made for its target; returns what the server did, None where there was nothing to do.

    Raises `Unwritable` for the first one refused, `Retryable` where another writer was faster.
    """
    if not writes:
        return None
    try:
        with translated():
            result = await collection.bulk_write([write for _, write in writes], session=session)
    except BulkWriteError as error:
        failure = write_failures(error)[0]
        if failure.duplicate and "_id" in failure.key_pattern:
            raise Retryable(f"another transaction wrote to {collection.name} first") from error
        target = writes[failure.index][0]
        raise Unwritable(target, f"{collection.name} refuses the document (code {failure.code})") from error
    return result
