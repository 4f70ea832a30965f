"""A file is opened once, read forward only, in bounded memory, and refused where it holds no lines of events."""

import gzip
import io
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.kafka.files import CannotTranslate, UnreadableLine, read_records, records_of
from worker.kafka.lines import MAX_LINE_BYTES, Damaged, NoLines, Source, TooLong, open_source, why_no_lines

LINES = [b'{"n": %d}' % number for number in range(2_000)]
TEXT = b"\n".join(LINES) + b"\n"


class Dribble(io.RawIOBase):
    """A pipe whose writer hands over a few bytes at a time."""

    def __init__(self, content: bytes, at_once: int) -> None:
        self._rest = io.BytesIO(content)
        self._at_once = at_once

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        some = self._rest.read(min(len(buffer), self._at_once))
        buffer[: len(some)] = some
        return len(some)


@pytest.fixture(params=["plain", "gzip"])
def content(request: pytest.FixtureRequest) -> bytes:
    return TEXT if request.param == "plain" else gzip.compress(TEXT)


@pytest.mark.parametrize("at_once", [1, 7, 100_000])
def test_a_pipe_loses_nothing_however_slowly_it_comes(content: bytes, at_once: int) -> None:
    pipe = io.BufferedReader(Dribble(content, at_once))
    assert list(Source(pipe, "pipe").lines()) == LINES


def test_a_named_pipe_is_opened_once(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    assert [record.value for record in read_records(path, "native")] == LINES
    writer.join()


def test_a_pipe_can_be_read_twice_where_that_was_asked_for(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    with open_source(path, twice=True) as source:
        assert list(source.lines()) == LINES
        source.rewind()
        assert list(source.lines()) == LINES
    writer.join()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"PK\x03\x04rest", "zip"),
        (b"BZh91AY", "bunzip2"),
        (b"\xfd7zXZ\x00rest", "xz -dc"),
        (b"\x28\xb5\x2f\xfdrest", "zstd -dc"),
        ('{"n": 1}\n'.encode("utf-16"), "iconv"),
        ('{"n": 1}\n'.encode("utf-16-le"), "iconv"),
        ('{"n": 1}\n'.encode("utf-32"), "iconv"),
        (b'[{"n": 1}]\n', r"jq -c '\.\[\]'"),
        (b'\n \n  [\n{"n": 1}]\n', r"jq -c '\.\[\]'"),
        (b'\xef\xbb\xbf[{"n": 1}]\n', r"jq -c '\.\[\]'"),
        (json.dumps({"n": 1}, indent=2).encode(), "jq -c"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"%PDF-1.7\n%\xe2\xe3\n", "a PDF"),
        (b"\n<!DOCTYPE html>\n", "HTML"),
        (b"Obj\x01\x04schema\n", "no text"),
        (b'\x1e{"n": 1}\n', "no text"),
    ],
)
def test_what_holds_no_lines_is_refused_with_what_to_do(
    tmp_path: Path, head: bytes, said: str, packed: bool
) -> None:
    path = tmp_path / "events"
    path.write_bytes(gzip.compress(head) if packed else head)
    with pytest.raises(NoLines, match=said):
        list(read_records(path, "native"))


def test_a_file_that_is_packed_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.gz"
    path.write_bytes(gzip.compress(gzip.compress(TEXT)))
    with pytest.raises(NoLines, match="packed twice"):
        list(read_records(path, "native"))


@pytest.mark.parametrize("first", [b"", b"\xff\xff", b"{", b"x", b'"text"'])
def test_a_bad_line_alone_makes_no_other_kind_of_file(first: bytes) -> None:
    assert (why_no_lines(first + b'{"n": 1}\n') is None) is True


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "events"
    marked = b"\xef\xbb\xbf" + TEXT
    path.write_bytes(marked if content is TEXT else gzip.compress(marked))
    assert [record.value for record in read_records(path, "native")] == LINES


def endless_line(size: int) -> Iterator[bytes]:
    for _ in range(size // 1_000_000):
        yield b"x" * 1_000_000


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_larger_than_any_record_costs_itself_and_no_memory(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "events.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"first\n")
        file.writelines(endless_line(40_000_000))
        file.write(end + (b"last" if end else b""))
    reported: list[UnreadableLine] = []
    records = list(read_records(path, "native", on_unreadable=reported.append))
    assert [record.value for record in records] == ([b"first", b"last"] if end else [b"first"])
    assert [str(line) for line in reported] == [
        f"line 2: 40,000,000 bytes; no record may be larger than {MAX_LINE_BYTES:,} bytes"
    ]
    with pytest.raises(CannotTranslate, match="line 2"):
        list(read_records(path, "native"))


def test_the_longest_line_is_a_record_and_one_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(b"x" * MAX_LINE_BYTES + b"\n" + b"y" * (MAX_LINE_BYTES + 1) + b"\nz")
    with open_source(path) as source:
        longest, beyond, last = source.lines()
    assert isinstance(longest, bytes)
    assert (len(longest), beyond, last) == (MAX_LINE_BYTES, TooLong(MAX_LINE_BYTES + 1), b"z")


def test_statements_are_read_from_a_pipe_too() -> None:
    source = Source(io.BytesIO(b"{}\n\n"), "pipe")
    reported: list[UnreadableLine] = []
    assert list(records_of(source, "xapi", on_unreadable=reported.append)) == []
    assert [line.line for line in reported] == [1]


def test_what_follows_a_gzip_is_told_without_quoting_it(tmp_path: Path) -> None:
    path = tmp_path / "events.gz"
    path.write_bytes(gzip.compress(b"{}\n") + b"SECRET")
    with pytest.raises(Damaged, match=r"1 whole lines? could be read \(something else follows\)"):
        list(read_records(path, "native"))


def test_a_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(NoLines, match="standard input is closed"):
        list(read_records(Path("-"), "native"))


def test_a_file_that_cannot_be_read_to_its_end_is_named() -> None:
    with pytest.raises(OSError, match="/proc/self/mem"):
        list(read_records(Path("/proc/self/mem"), "native"))
