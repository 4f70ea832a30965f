"""Lines of a file from where a former reading came to, if the file still begins as it did then."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from worker.errors import Refused
from worker.kafka.lines import Source, TooLong


class OtherFile(Refused):
    """The file does not begin with the lines that were read of it before."""


@dataclass(frozen=True, slots=True)
class Place:
    """How many lines of a file were read, and the SHA-256 of these, by which it is known again."""

    lines: int = 0
    digest: str = ""


class ResumableLines:
    """The lines behind a place, and the place behind those that have been taken."""

    def __init__(self, source: Source, name: str, begin: Place) -> None:
        self._source = source
        self._name = name
        self._begin = begin
        self._taken = 0
        self._hash = hashlib.sha256()

    @property
    def place(self) -> Place:
        """Behind the line that was taken last."""
        return Place(self._taken, self._hash.hexdigest()) if self._taken else Place()

    def lines(self) -> Iterator[bytes | TooLong]:
        """The lines behind the place where reading begins; those before are passed.

        Raises OtherFile, and what `Source.lines` does.

        Each counts as taken when it is asked for: whoever holds the last one has not asked for the next.
        """
        for line in self._source.lines():
            self._take(line)
            if self._taken > self._begin.lines:
                yield line
            elif self._taken == self._begin.lines and self.place != self._begin:
                raise OtherFile(self._told())
        if self._taken < self._begin.lines:
            raise OtherFile(self._told())

    def _take(self, line: bytes | TooLong) -> None:
        self._taken += 1
        self._hash.update(line if isinstance(line, bytes) else b"%d bytes" % line.size_bytes)
        self._hash.update(b"\n")

    def _told(self) -> str:
        return (
            f"{self._name} does not begin with the {self._begin.lines:,} lines that were read of it before: name it "
            "otherwise to begin anew, event ids decide what is a duplicate"
        )
