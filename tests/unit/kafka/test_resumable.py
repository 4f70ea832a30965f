"""A file is read on from where a former reading came to, if it still begins as it did then."""

from pathlib import Path

import pytest

from worker.kafka.lines import open_source
from worker.kafka.resumable import OtherFile, Place, ResumableLines


def read(path: Path, begin: Place, most: int | None = None) -> tuple[list[object], Place]:
    """Some lines from a place on, and the place behind them."""
    with open_source(path) as source:
        lines, taken = ResumableLines(source, path.name, begin), list[object]()
        for line in lines.lines():
            taken.append(line)
            if len(taken) == most:
                break
        return taken, lines.place


def test_each_line_comes_once_wherever_reading_was_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_text("a\nb\nc\nd\n")
    for most in (1, 2, 3, 4):
        first, place = read(path, Place(), most)
        rest, end = read(path, place)
        assert first + rest == [b"a", b"b", b"c", b"d"]
        assert end == read(path, Place())[1]


@pytest.mark.parametrize("changed", ["a\nX\nc\nd\n", "a\n", "", "ab\nc\nd\n"])
def test_another_file_is_refused(tmp_path: Path, changed: str) -> None:
    path = tmp_path / "events"
    path.write_text("a\nb\nc\nd\n")
    _, place = read(path, Place(), 2)
    path.write_text(changed)
    with pytest.raises(OtherFile, match="events does not begin with the 2 lines that were read of it before"):
        read(path, place)


def test_a_file_that_has_grown_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_text("a\nb\n")
    _, place = read(path, Place())
    path.write_text("a\nb\nc\n")
    assert read(path, place)[0] == [b"c"]
