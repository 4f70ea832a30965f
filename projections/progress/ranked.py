"""Numbers of thousands of lessons in one binary: records of a fixed width, in the order of the lessons' hashes.

A lesson's record takes some 16 bytes, where an entry of a document under its id takes 34 and more; finding one, and
refusing one beyond the cap, costs a few comparisons, and nothing is decoded to be kept. The k lessons of the smallest
hashes are kept, in whatever order they came.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha1
from struct import Struct

_RANK_BYTES = 8
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@lru_cache(maxsize=8192)
def lesson_rank(lesson: str) -> bytes:
    """First 8 bytes of the SHA-1 of the lesson id's 24 hex digits.

    Which lessons stay does not depend on the course's order. Two of 5,000 lessons have the same 8 bytes once in 10^12
    courses.
    """
    return sha1(lesson.encode(), usedforsecurity=False).digest()[:_RANK_BYTES]


@dataclass(frozen=True, slots=True)
class RankedTable:
    """How a table is written: `record` is what stands behind each rank, `cap` the most records it keeps.

    A table itself is plain bytes, empty at first; no call changes the one it is given.
    """

    record: Struct
    cap: int

    def size(self, table: bytes) -> int:
        """The number of lessons in the table."""
        return len(table) // self._width

    def get(self, table: bytes, rank: bytes) -> tuple[int, ...] | None:
        """The record under a rank."""
        if not table:
            return None
        at, known = self._place(table, rank)
        return self.record.unpack_from(table, at + _RANK_BYTES) if known else None

    def put(self, table: bytes, rank: bytes, *values: int) -> bytes:
        """The table with this record under the rank; the record of the largest rank goes where there is no room.

        A rank once refused or dropped never belongs again: what is kept of a lesson is all that happened to it.
        """
        at, known = self._place(table, rank)
        rest = table[at + self._width if known else at :]
        return (table[:at] + rank + self.record.pack(*values) + rest)[: self.cap * self._width]

    def records(self, table: bytes) -> Iterator[tuple[int, ...]]:
        """All records, without their ranks, in the order of the ranks."""
        for at in range(_RANK_BYTES, len(table), self._width):
            yield self.record.unpack_from(table, at)

    def items(self, table: bytes) -> Iterator[tuple[bytes, tuple[int, ...]]]:
        """All ranks in their order, each with its record."""
        for at in range(0, len(table), self._width):
            yield table[at : at + _RANK_BYTES], self.record.unpack_from(table, at + _RANK_BYTES)

    def last_bytes(self, table: bytes) -> bytes:
        """The last byte of every record: of flags that stand there, counted without a look at the rest."""
        return table[self._width - 1 :: self._width]

    @property
    def _width(self) -> int:
        return _RANK_BYTES + self.record.size

    def _place(self, table: bytes, rank: bytes) -> tuple[int, bool]:
        """Where the rank's record begins, or would, and whether it is there."""
        width = self._width
        low, high = 0, len(table) // width
        while low < high:
            middle = (low + high) // 2
            if table[middle * width : middle * width + _RANK_BYTES] < rank:
                low = middle + 1
            else:
                high = middle
        at = low * width
        return at, table[at : at + _RANK_BYTES] == rank


def milliseconds_of(moment: datetime) -> int:
    """Whole milliseconds since 1970, what BSON holds of a moment."""
    return (moment - _EPOCH) // _MILLISECOND


def moment_of(milliseconds: int) -> datetime:
    """The moment of `milliseconds_of`."""
    return _EPOCH + milliseconds * _MILLISECOND
