"""Reads a file of events, plain or gzip, one a line: every line is published or reported, none is lost."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

from worker.contract.codec import encode, record_key
from worker.contract.formats import xapi
from worker.errors import Refused

Format = Literal["native", "xapi"]
Header = tuple[str, bytes | None]

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """One record to publish. `value` None is a tombstone; `line` counts from 1, 0 if it came from no file."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[Header, ...] = ()
    line: int = 0

    @property
    def size_bytes(self) -> int:
        return len(self.value or b"") + len(self.key or b"")


@dataclass(frozen=True, slots=True)
class UnreadableLine:
    """A line that is no event of its format, and why. It was not published."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


class Damaged(Refused):
    """A compressed file is cut short or broken; the message says how many lines were read before."""


class CannotTranslate(Refused):
    """A line is no event of its format; the message names the line."""


def read_records(
    path: Path,
    format: Format,  # noqa: A002 - the word of the command line, too
    *,
    on_unreadable: Callable[[UnreadableLine], None] | None = None,
) -> Iterator[OutgoingRecord]:
    """Yield the file's records in its order, keyed `<course_id>:<user_id>` where that can be read.

    native: each line's bytes unchanged, without the line feed, valid or not. xapi: each statement translated
    to the contract and encoded; blank lines are passed over. A line that cannot be translated goes to
    `on_unreadable`; without one it raises CannotTranslate. Raises Damaged where a compressed file breaks off.
    """
    convert = _translated if format == "xapi" else _unchanged
    report = on_unreadable or _refuse
    with _opened(path) as file:
        for number, line in enumerate(_lines(file, path), start=1):
            converted = convert(line.removesuffix(b"\n"), number)
            if isinstance(converted, UnreadableLine):
                report(converted)
            elif converted is not None:
                yield converted


def _opened(path: Path) -> BinaryIO:
    """Compressed files are told by their first bytes, not by their name."""
    with path.open("rb") as file:
        compressed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    return cast(BinaryIO, gzip.open(path, "rb")) if compressed else path.open("rb")


def _lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    read = 0
    try:
        for line in file:
            yield line
            read += 1
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Damaged(
            f"{path} is cut short or broken: {read:,} whole lines could be read ({error})"
        ) from error


def _unchanged(line: bytes, number: int) -> OutgoingRecord:
    return OutgoingRecord(line, record_key(line), line=number)


def _translated(line: bytes, number: int) -> OutgoingRecord | UnreadableLine | None:
    if not line.strip():
        return None
    try:
        value = encode(xapi.translate(line))
    except ValueError as error:
        return UnreadableLine(number, str(error))
    return OutgoingRecord(value, record_key(value), line=number)


def _refuse(line: UnreadableLine) -> None:
    raise CannotTranslate(str(line))
