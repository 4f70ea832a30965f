"""What one transaction of counting reads: as much as fits into memory with what is made of it, or nothing."""

from collections.abc import Mapping
from typing import Any

from projections.counts.learner import COUNTED_PATHS, RECORD_PATHS
from worker.errors import WorkerError
from worker.storage import reading
from worker.storage.database import Collection
from worker.storage.reading import Reading
from worker.storage.transactions import Session

# Decoded they take seven times as much; logs, whose entries are kept as bytes, too, and written again, twenty times.
_MOST_BYTES = 5_000_000
_KEPT_COUNTS = 3

# The record, and the server's time of the reading.
RECORD: Mapping[str, Any] = dict.fromkeys(RECORD_PATHS, 1) | {"read_at": "$$NOW"}
COUNTED: Mapping[str, Any] = dict.fromkeys(COUNTED_PATHS, 1)


class TooLarge(WorkerError):
    """The transaction reads more than fits: it is over, and must be given less to do, `fitting` of it perhaps."""

    def __init__(self, message: str, fitting: float) -> None:
        super().__init__(message)
        self.fitting = fitting


class Allowance:
    """The bytes that one transaction may read in all; without a bound for one that cannot be given less."""

    def __init__(self, *, bounded: bool) -> None:
        self._left: int | None = _MOST_BYTES if bounded else None

    @property
    def has_room(self) -> bool:
        """True while less than half of it is taken."""
        return self._left is None or self._left > _MOST_BYTES // 2

    async def find(
        self,
        collection: Collection,
        query: Mapping[str, Any],
        paths: Mapping[str, Any],
        session: Session,
        *,
        asked: int,
        **options: Any,
    ) -> Reading:
        """`reading.find`, of all that matches; some `asked` documents may. Raises `TooLarge`."""
        weight = _KEPT_COUNTS if options.get("kept") else 1
        bound = None if self._left is None else max(1, self._left // weight)
        found = await reading.find(collection, query, paths, session=session, max_bytes=bound, **options)
        if not found.complete:
            read = len(found.documents) + len(found.unreadable)
            raise TooLarge(f"more than {_MOST_BYTES} bytes of documents of {collection.name}", read / asked)
        if self._left is not None:
            self._left -= weight * found.size_bytes
        return found
