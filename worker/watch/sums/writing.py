"""Bulk writes within a transaction, in which one document that cannot be written must not stop the others."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import bson
from pymongo import InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError
from pymongo.results import BulkWriteResult

from worker.errors import Refused, Retryable, WorkerError
from worker.storage.database import CODEC_OPTIONS, Collection, Document
from worker.storage.errors import translated, write_failures
from worker.storage.refused_rows import RowTarget
from worker.storage.transactions import Session
from worker.watch.sums.plan import Target
from worker.watch.sums.quarantine import Reason

Write = InsertOne[Document] | ReplaceOne[Document] | UpdateOne

# What a document may have; an update that sets more cannot even be sent.
_LARGEST_BYTES = 16 * 1024 * 1024


class RejectedWrite(WorkerError):
    """One document stands in the way by its content; the transaction is over and may run without `target`."""

    def __init__(self, target: Target | RowTarget, reason: Reason) -> None:
        super().__init__(reason.message)
        self.target = target
        self.reason = reason


@contextmanager
def concerning(target: Target) -> Iterator[None]:
    """A pure step on values of one document: whatever it raises concerns that document only."""
    try:
        yield
    except WorkerError:
        raise
    except Exception as error:
        message = f"its values make no sense here ({type(error).__name__})"
        raise RejectedWrite(target, Reason(type(error).__name__, message)) from error


async def write_each(
    collection: Collection, writes: Sequence[tuple[Target | RowTarget, Write]], session: Session
) -> BulkWriteResult | None:
    """Send all writes, each made for its target; returns what the server did, None where there was nothing to do.

    Raises `RejectedWrite` for the first one refused, `Retryable` where another writer was faster.
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
        reason = Reason("Refused", f"{collection.name} refuses the document (code {failure.code})")
        raise RejectedWrite(target, reason) from error
    except Refused as error:  # not even sent, or refused as a whole: one of the documents is to blame
        for target, write in writes:
            if not _can_be_sent(write):
                message = (
                    f"{collection.name} cannot hold the document: too large, or a value BSON does not have"
                )
                raise RejectedWrite(target, Reason("Refused", message)) from error
        raise
    return result


def _can_be_sent(write: Write) -> bool:
    document = write._doc  # noqa: SLF001  # the driver has no other way to ask, and this is after a failure only
    if not isinstance(document, Mapping):
        return True  # a pipeline, made of our own values
    try:
        return len(bson.encode(document, codec_options=CODEC_OPTIONS)) <= _LARGEST_BYTES
    except (bson.errors.BSONError, OverflowError, UnicodeEncodeError, RecursionError):
        return False
