"""Reads a file of events, plain or gzip, one a line: every line is published or reported, none is lost."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from worker.contract.codec import encode, record_key
from worker.contract.formats import xapi
from worker.errors import Refused
from worker.kafka.lines import MAX_LINE_BYTES, TooLong, open_source
from worker.words import counted

Format = Literal["native", "xapi"]
Header = tuple[str, bytes | None]

# Verbs are read by people; a hostile file may have millions.
_MOST_VERBS = 50
_LONGEST_VERB = 60
_OTHER_VERBS = "others"


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """One record to publish, to the publisher's topic where it names none.

    `value` None is a tombstone; `line` counts from 1, 0 if it came from no file.
    """

    value: bytes | None
    key: bytes | None = None
    headers: tuple[Header, ...] = ()
    line: int = 0
    topic: str | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.value or b"") + len(self.key or b"")


@dataclass(frozen=True, slots=True)
class UnreadableLine:
    """A line that is no event of its format, or larger than any record, and why. It was not published."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


class CannotTranslate(Refused):
    """A line is no event of its format; the message names the line."""


OnUnreadable = Callable[[UnreadableLine], None]


class Lines(Protocol):
    """An open source of lines, each without its line feed."""

    def lines(self) -> Iterator[bytes | TooLong]:
        """Every line, once."""


@dataclass(slots=True)
class Statements:
    """How xAPI statements are read, and how many of them had no event, by verb.

    `own_home_page` is that of the platform's own accounts.
    """

    own_home_page: str | None = None
    left_out: Counter[str] = field(default_factory=Counter)

    def leave_out(self, verb: str) -> None:
        """Count a statement. A verb is whatever stood in the file: it is made fit to be shown."""
        shown = "".join(mark if mark.isprintable() else "?" for mark in verb[:_LONGEST_VERB])
        known = shown in self.left_out or len(self.left_out) < _MOST_VERBS
        self.left_out[shown if known else _OTHER_VERBS] += 1

    def __str__(self) -> str:
        """In words for people; empty where nothing was left out."""
        if not self.left_out:
            return ""
        verbs = ", ".join(f"{verb} {count:,}" for verb, count in self.left_out.most_common())
        return (
            f"{counted(self.left_out.total(), 'statement')} left out, not of a learner about a video: {verbs}"
        )


def read_records(
    path: Path,
    format: Format,  # noqa: A002 - the word of the command line, too
    *,
    on_unreadable: OnUnreadable | None = None,
    statements: Statements | None = None,
) -> Iterator[OutgoingRecord]:
    """`records_of` the file at `path`, opened for as long as it is read; `-` is standard input."""
    with open_source(path) as source:
        yield from records_of(source, format, on_unreadable=on_unreadable, statements=statements)


def records_of(
    source: Lines,
    format: Format,  # noqa: A002
    *,
    on_unreadable: OnUnreadable | None = None,
    statements: Statements | None = None,
    first_line: int = 1,
) -> Iterator[OutgoingRecord]:
    """Yield the source's records in its order, each with the recommended key where that can be read.

    native: each line's bytes unchanged, without the line feed, valid or not. xapi: each statement translated
    to the contract and encoded; blank lines are skipped, and `statements` counts those without an event.
    The first one is line number `first_line`. A line that cannot be translated, or is larger than any record, goes to
    `on_unreadable`; without one it raises CannotTranslate. Raises what `Source.lines` does.
    """
    convert = partial(_translated, statements or Statements()) if format == "xapi" else _unchanged
    report = on_unreadable or _refuse
    for number, line in enumerate(source.lines(), start=first_line):
        if isinstance(line, TooLong):
            why = f"{line.size_bytes:,} bytes; no record may be larger than {MAX_LINE_BYTES:,} bytes"
            report(UnreadableLine(number, why))
            continue
        converted = convert(line, number)
        if isinstance(converted, UnreadableLine):
            report(converted)
        elif converted is not None:
            yield converted


def _unchanged(line: bytes, number: int) -> OutgoingRecord:
    return OutgoingRecord(line, record_key(line), line=number)


def _translated(statements: Statements, line: bytes, number: int) -> OutgoingRecord | UnreadableLine | None:
    if not line.strip():
        return None
    try:
        fields = xapi.translate(line, statements.own_home_page)
    except ValueError as error:
        return UnreadableLine(number, str(error))
    if isinstance(fields, xapi.LeftOut):
        statements.leave_out(fields.verb)
        return None
    value = encode(fields)
    return OutgoingRecord(value, record_key(value), line=number)


def _refuse(line: UnreadableLine) -> None:
    raise CannotTranslate(str(line))
