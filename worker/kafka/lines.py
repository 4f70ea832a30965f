"""Opens a file of events once and reads it forward only, so that a pipe loses nothing.

A file that holds no lines of text (an archive, UTF-16, one JSON array) is refused as a whole: its lines would be
published as garbage.
"""

import gzip
import io
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from worker.errors import Refused

STANDARD_INPUT = Path("-")
# The contract allows 256 KiB; larger lines are published too, so that the worker can show what it refuses. Kafka's
# default limit is 1 MiB: beyond that the broker decides. A line above this is counted and never held in memory.
MAX_LINE_BYTES = 4 * 1024 * 1024

_GZIP = b"\x1f\x8b"
_UTF8_MARK = b"\xef\xbb\xbf"
# How a file begins that is packed by something else, and what unpacks it.
_PACKED = {
    b"PK\x03\x04": ("a zip archive", "unzip -p"),
    b"PK\x05\x06": ("an empty zip archive", "unzip -p"),
    b"BZh": ("packed by bzip2", "bunzip2 -c"),
    b"\xfd7zXZ\x00": ("packed by xz", "xz -dc"),
    b"\x28\xb5\x2f\xfd": ("packed by zstd", "zstd -dc"),
    b"\x04\x22\x4d\x18": ("packed by lz4", "lz4 -dc"),
    b"\x1f\x9d": ("packed by compress", "uncompress -c"),
}
# Files of other programs that may have no character of control in their first line.
_OTHER = {
    b"\x89PNG": "a picture",
    b"%PDF-": "a PDF document",
    b"<": "HTML or XML; was a page stored instead of the file?",
}
# JSON text has none of these; binary files have them at once. Line ends and tabs are blank space.
_CONTROL = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f]")
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
# Enough to see what a file is; a shorter first line is not waited beyond.
_HEAD_BYTES = 4_096
_DISCARD_BYTES = 1024 * 1024
_BUFFER_BYTES = 256 * 1024


class NoLines(Refused):
    """The file does not hold one event a line; the message says what it seems to be, and what to do."""


class Damaged(Refused):
    """A compressed file is cut short or broken; the message says how many lines were read before."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line that no record may be as large as; it was counted and not kept."""

    size_bytes: int


class Source:
    """An open file, pipe or standard input. `lines` may be called again after `rewind`, where that is possible."""

    def __init__(self, raw: BinaryIO, name: str) -> None:
        self._raw = raw
        self._name = name
        self._start = raw.tell() if raw.seekable() else None

    def rewind(self) -> None:
        """Begin again; only for a source that was opened to be read twice."""
        if self._start is None:
            raise io.UnsupportedOperation(f"{self._name} can be read once only")
        self._raw.seek(self._start)

    def lines(self) -> Iterator[bytes | TooLong]:
        """Every line without its line feed, in bounded memory.

        Raises NoLines for what holds none, Damaged where a compressed file breaks off, OSError.
        """
        read = 0
        try:
            text = _text(self._raw, self._name)
            while line := text.readline(MAX_LINE_BYTES + 1):
                yield _whole(line, text)
                read += 1
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            why = "something else follows" if isinstance(error, gzip.BadGzipFile) else str(error)
            raise Damaged(
                f"{self._name} is cut short or broken: {read:,} whole lines could be read ({why})"
            ) from error
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._name) from error


@contextmanager
def open_source(path: Path, *, twice: bool = False) -> Iterator[Source]:
    """The file at `path`, or standard input for `-`. Raises OSError.

    `twice` keeps what comes through a pipe in a temporary file, so that it can be read a second time.
    """
    with ExitStack() as stack:
        if path == STANDARD_INPUT:
            if sys.stdin is None:  # closed by whoever started us
                raise NoLines("standard input is closed")
            # Not `sys.stdin`, for which the interpreter waits at its end, as long as somebody reads from it.
            opened: BinaryIO = io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False))
            name = "standard input"
        else:
            opened, name = path.open("rb"), str(path)
        # A pipe is closed with the last who knows it: a thread may wait in it for what never comes, and closing
        # would wait for that thread.
        if opened.seekable():
            stack.enter_context(opened)
        raw = opened
        if twice and not raw.seekable():
            kept = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(raw, kept)
            kept.seek(0)
            raw = cast(BinaryIO, kept)
        yield Source(raw, name)


def _text(raw: BinaryIO, name: str) -> BinaryIO:
    """The stream of lines in `raw`, unpacked; its first bytes, not its name, say what it is."""
    head = _head(raw)
    if not head.startswith(_GZIP):
        return _checked(head, raw, name)
    unpacked = cast(BinaryIO, gzip.GzipFile(fileobj=_Rejoined(head, raw), mode="rb"))
    head = _head(unpacked)
    if head.startswith(_GZIP):
        raise NoLines(f"{name} is packed twice: unpack it once, `gunzip -c FILE | sevenp-worker publish -`")
    return _checked(head, unpacked, name)


def _checked(head: bytes, rest: BinaryIO, name: str) -> BinaryIO:
    if reason := why_no_lines(head):
        raise NoLines(f"{name} {reason}")
    whole = _Rejoined(head.removeprefix(_UTF8_MARK), rest)
    return cast(BinaryIO, io.BufferedReader(whole, _BUFFER_BYTES))


def why_no_lines(head: bytes) -> str | None:
    """What a file that begins like this is instead of one event a line; None where it may be that."""
    for magic, (what, unpack) in _PACKED.items():
        if head.startswith(magic):
            return f"is {what}: unpack it, `{unpack} FILE | sevenp-worker publish -`"
    if head.startswith(_WIDE_MARKS) or b"\0" in head:
        return "is no UTF-8 text; if it is UTF-16: `iconv -f UTF-16 -t UTF-8 FILE | sevenp-worker publish -`"
    for magic, what in _OTHER.items():
        if head.lstrip().startswith(magic):
            return f"is {what}"
    if _CONTROL.search(head):
        return "is no text: it has characters of control, which no event has"
    first = head.removeprefix(_UTF8_MARK).strip()
    if first.startswith(b"["):
        return "is one JSON array, not one event a line: `jq -c '.[]' FILE | sevenp-worker publish -`"
    if first == b"{":
        return "has its events spread over several lines: `jq -c . FILE | sevenp-worker publish -`"
    return None


def _head(stream: BinaryIO) -> bytes:
    """The beginning, to the end of the first line that is not blank."""
    head = b""
    while len(head) < _HEAD_BYTES:
        line = stream.readline(_HEAD_BYTES - len(head))
        head += line
        if not line or line.strip():
            break
    return head


def _whole(line: bytes, text: BinaryIO) -> bytes | TooLong:
    if len(line) <= MAX_LINE_BYTES or line.endswith(b"\n"):
        return line.removesuffix(b"\n")
    size = len(line)
    while rest := text.readline(_DISCARD_BYTES):
        size += len(rest)
        if rest.endswith(b"\n"):
            return TooLong(size - 1)
    return TooLong(size)


class _Rejoined(io.RawIOBase):
    """A stream whose first bytes were read already: they come once more, then the rest."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        if self._head:
            some, self._head = self._head[: len(view)], self._head[len(view) :]
        else:
            some = cast(io.BufferedReader, self._rest).read1(len(view))
        view[: len(some)] = some
        return len(some)
