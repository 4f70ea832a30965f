"""One attempt at one transaction: what it is about, what it leaves out, and what it reads and writes by.

It reads as much as fits into memory with what is made of it, or nothing. One document that cannot be read or written
must not stop the others: it is named, and the next attempt leaves it out.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import bson
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateMany, UpdateOne
from pymongo.errors import BulkWriteError
from pymongo.results import BulkWriteResult

from worker.errors import Refused, Retryable, WorkerError
from worker.storage import reading
from worker.storage.database import CODEC_OPTIONS, Collection, Document
from worker.storage.errors import translated, write_failures
from worker.storage.reading import Reading
from worker.storage.transactions import Session

T = TypeVar("T")

Target = tuple[str, Any]
"""A document by its kind and `_id`: one that is counted, or that shows a sum; a view; a row of outbox or billing."""
Keys = frozenset[Target]
Write = InsertOne[Document] | ReplaceOne[Document] | UpdateOne | UpdateMany | DeleteOne

# Decoded they take seven times as much; logs, whose entries are kept as bytes, too, and written again, twenty times.
_MOST_BYTES = 5_000_000
_KEPT_COUNTS = 3
# What a document may have; an update that sets more cannot even be sent.
_LARGEST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a document is left out: no values of it."""

    error_class: str
    message: str


Rejections = Mapping[Target, Reason]


class RejectedWrite(WorkerError):
    """One document stands in the way by its content; the transaction is over and may run without `target`.

    `duplicate`: another document has its key in a unique index.
    """

    def __init__(self, target: Target, reason: Reason, *, duplicate: bool = False) -> None:
        super().__init__(reason.message)
        self.target = target
        self.reason = reason
        self.duplicate = duplicate


class TooLarge(WorkerError):
    """The transaction reads more than fits: it is over, and must be given less to do, `fitting` of it perhaps."""

    def __init__(self, message: str, fitting: float) -> None:
        super().__init__(message)
        self.fitting = fitting


class Attempt:
    """What one transaction is given, and what it finds on its way.

    Of `keys` it leaves out those that are `cooling`: the server has refused them lately. `locked` are documents to be
    held from the first command on; `retrying` those whose item of the queue is due. It notes in `rejected` what it
    left out and why, in `concerned` what it read in order to write it, in `rebuild` what else is to be made again
    from all it follows from, in `changed` how many documents of each collection, and in `suppressed` the kinds of
    notifications made now that will not be sent. `quarantined` is what the queue says of it, once that was asked. One
    that cannot be given less to do may read without a bound.
    """

    session: Session

    def __init__(self, keys: Keys, cooling: Rejections, locked: Keys, retrying: Keys) -> None:
        self.keys = keys
        self.cooling = cooling
        self.locked = locked
        self.retrying = retrying
        self.rejected: dict[Target, Reason] = {}
        self.concerned: set[Target] = set()
        self.rebuild: set[Target] = set()
        self.changed: Counter[str] = Counter()
        self.suppressed: list[str] = []
        self.quarantined: frozenset[Any] | None = None
        self._left: int | None = _MOST_BYTES if len(keys) > 1 else None

    async def within(self, transact: Callable[["Attempt"], Awaitable[T]], session: Session) -> T:
        """Do the work of a transaction on its session."""
        self.session = session
        return await transact(self)

    @property
    def has_room(self) -> bool:
        """True while less than half of what it may read is taken."""
        return self._left is None or self._left > _MOST_BYTES // 2

    async def find(
        self,
        collection: Collection,
        query: Mapping[str, Any],
        paths: Mapping[str, Any],
        *,
        asked: int,
        **options: Any,
    ) -> Reading:
        """`reading.find`, of all that matches; some `asked` documents may. Raises `TooLarge`."""
        weight = _KEPT_COUNTS if options.get("kept") else 1
        bound = None if self._left is None else max(1, self._left // weight)
        found = await reading.find(collection, query, paths, session=self.session, max_bytes=bound, **options)
        if not found.complete:
            read = len(found.documents) + len(found.unreadable)
            raise TooLarge(f"more than {_MOST_BYTES} bytes of documents of {collection.name}", read / asked)
        if self._left is not None:
            self._left -= weight * found.size_bytes
        return found

    async def read(
        self, collection: Collection, ids: Iterable[Any], paths: Mapping[str, Any], **options: Any
    ) -> Reading:
        """The documents of these ids."""
        wanted = list(ids)
        if not wanted:
            return Reading(collection.name)
        return await self.find(collection, {"_id": {"$in": wanted}}, paths, asked=len(wanted), **options)

    async def write(
        self,
        collection: Collection,
        writes: Sequence[tuple[Target | None, Write]],
        *,
        unvalidated: bool = False,
    ) -> BulkWriteResult | None:
        """Send all writes, each made for its target; returns what the server did, None where there was nothing to do.

        `unvalidated`: past the collection's validator, which this user must be allowed to.

        Raises `RejectedWrite` for the first one refused, `Refused` where that is not to blame by itself, and
        `Retryable` where another writer was faster.
        """
        if not writes:
            return None
        try:
            with translated():
                result = await collection.bulk_write(
                    [write for _, write in writes],
                    session=self.session,
                    bypass_document_validation=unvalidated or None,
                )
        except BulkWriteError as error:
            failure = write_failures(error)[0]
            if failure.duplicate and "_id" in failure.key_pattern:
                raise Retryable(f"another transaction wrote to {collection.name} first") from error
            target, why = writes[failure.index][0], f"refuses the document (code {failure.code})"
            raise _rejected(target, f"{collection.name} {why}", duplicate=failure.duplicate) from error
        except Refused as error:  # not even sent, or refused as a whole: one of the documents is to blame
            for target, write in writes:
                if not _can_be_sent(write):
                    why = "cannot hold the document: too large, or a value BSON does not have"
                    raise _rejected(target, f"{collection.name} {why}") from error
            raise
        self.changed[collection.name] += _changed_by(result)
        return result


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


def ids_of(kind: str, targets: Iterable[Target]) -> set[Any]:
    """The documents of one kind."""
    return {identity for each, identity in targets if each == kind}


def _changed_by(result: BulkWriteResult) -> int:
    return (
        result.inserted_count + result.upserted_count + int(result.modified_count or 0) + result.deleted_count
    )


def _rejected(target: Target | None, message: str, *, duplicate: bool = False) -> WorkerError:
    if target is None:
        return Refused(message)
    return RejectedWrite(target, Reason("Refused", message), duplicate=duplicate)


def _can_be_sent(write: Write) -> bool:
    if isinstance(write, DeleteOne):
        return True
    document = write._doc  # noqa: SLF001  # the driver has no other way to ask, and this is after a failure only
    if not isinstance(document, Mapping):
        return True  # a pipeline, made of our own values
    try:
        return len(bson.encode(document, codec_options=CODEC_OPTIONS)) <= _LARGEST_BYTES
    except (bson.errors.BSONError, OverflowError, UnicodeEncodeError, RecursionError):
        return False
