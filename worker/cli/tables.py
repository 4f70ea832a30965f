"""Results as tables for people; what scripts need is printed as JSON instead."""

import json
from collections.abc import Mapping, Sequence
from textwrap import indent
from typing import Any, Self

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from worker.cli.output import one_line, visible
from worker.verify.findings import Verification
from worker.words import counted


def print_json(value: Any) -> None:
    """Plain JSON on stdout, whatever the terminal."""
    Console(soft_wrap=True, highlight=False).print(json.dumps(value, indent=2), markup=False)


def print_line_of_json(value: Any) -> None:
    """JSON on one line of stdout: the next one is another object."""
    Console(soft_wrap=True, highlight=False).print(json.dumps(value), markup=False)


class JsonList:
    """A JSON list on stdout, as `print_json` writes it, of which one entry is in memory at a time."""

    def __init__(self) -> None:
        self._console = Console(soft_wrap=True, highlight=False)
        self._begun = False

    def __enter__(self) -> Self:
        return self

    def add(self, value: Any) -> None:
        """Print one more entry."""
        opening = ",\n" if self._begun else "[\n"
        self._begun = True
        self._console.print(opening + indent(json.dumps(value, indent=2), "  "), markup=False, end="")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the list; what an error cut off stays no JSON."""
        if kind is None:
            self._console.print("\n]" if self._begun else "[]", markup=False)


_COUNTED = ("documents", "behind", "quarantined", "other_version", "without_effect", "parts")
"""What `verify` tells of each projection, in this order."""


def print_verification(verification: Verification) -> None:
    """Counts, then what is wrong."""
    counts = {name.replace("_", " "): number for name, number in verification.counts.items()}
    reasons = {reason or "(none)": number for reason, number in verification.dead_letter_reasons.items()}
    projections = [
        (name, *(f"{getattr(each, column):,}" for column in _COUNTED))
        for name, each in verification.by_projection.items()
    ]
    refused = [
        (name, reason, f"{number:,}")
        for name, each in verification.by_projection.items()
        for reason, number in sorted(each.reasons.items())
    ]
    findings = [(each.name, each.subject, each.detail) for each in verification.findings]
    print_table(_numbers(counts), ("checked", "number"))
    print_table(projections, ("projection", *(column.replace("_", " ") for column in _COUNTED)))
    print_table(refused, ("projection", "without effect because", "number"))
    print_table(_numbers(reasons), ("dead letters by reason", "number"))
    print_table(findings, ("finding", "subject", "detail"))
    if not verification.ok:
        total = sum(verification.finding_counts.values())
        Console().print(f"{counted(total, 'finding')}.", style="bold red")
    elif verification.counts["events"]:
        Console().print("Everything agrees.", style="bold green")
    else:
        nothing = "Nothing to check: no event is stored here. Is SEVENP_DATABASE_PREFIX right?"
        Console().print(nothing, style="yellow")


def _numbers(numbers: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(name, f"{number:,}") for name, number in numbers.items()]


# Wider than any table: what is written to a file or a pipe has no width to keep to.
_UNBOUNDED = 10_000
# Sentences, which may be wrapped; everything else is there to be copied and stays in one piece.
_SENTENCES = frozenset({"message", "detail", "expected", "found", "what", "value", "fix", "mended by"})
_SENTENCE_WIDTH = 24  # narrower columns of words are no pleasure to read
_BORDER = 3  # around a cell


def print_table(
    rows: Sequence[tuple[str, ...]], columns: tuple[str, ...], empty: str = "", *, most: int | None = None
) -> None:
    """Rows under their columns; `empty` instead, if there are none. Of more than `most` the others are counted.

    No cell is cut off, for ids are there to be copied; those that are no sentences stay in one line, whatever they
    hold. Where a terminal is too narrow for the columns, each row becomes a block of lines; files and pipes have no
    width.
    """
    console = Console(highlight=False)
    if not rows:
        if empty:
            console.print(empty, markup=False)
        return
    _print_rows(console, [_shown(row, columns) for row in rows[:most]], columns)
    if most is not None and len(rows) > most:
        console.print(f"... and {len(rows) - most:,} more: --json has them", markup=False)


def _shown(row: tuple[str, ...], columns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        visible(cell) if column in _SENTENCES else one_line(cell)
        for column, cell in zip(columns, row, strict=True)
    )


def _print_rows(console: Console, rows: Sequence[tuple[str, ...]], columns: tuple[str, ...]) -> None:
    if console.is_terminal and _narrowest(rows, columns) > console.width:
        _print_blocks(console, rows, columns)
        return
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column not in _SENTENCES)
    for row in rows:
        table.add_row(*map(escape, row))
    if not console.is_terminal:
        wide = console.options.update(width=_UNBOUNDED)
        console.width = max(console.width, console.measure(table, options=wide).maximum)
    console.print(table)


def _narrowest(rows: Sequence[tuple[str, ...]], columns: tuple[str, ...]) -> int:
    """The width a table of these rows needs to be readable."""
    widths = []
    for column, *cells in zip(columns, *rows, strict=True):
        width = max(map(cell_len, (column, *cells)))
        widths.append(min(width, _SENTENCE_WIDTH) if column in _SENTENCES else width)
    return sum(width + _BORDER for width in widths) + 1


def _print_blocks(console: Console, rows: Sequence[tuple[str, ...]], columns: tuple[str, ...]) -> None:
    """A line for each cell that holds something, its name before it; longer than that, the name stands above it."""
    label = max(map(len, columns)) + 2
    for number, row in enumerate(rows):
        if number:
            console.print()
        for column, cell in zip(columns, row, strict=True):
            if not cell:
                continue
            beside = column in _SENTENCES or label + cell_len(cell) <= console.width
            indent = label if beside else 0
            lines = Text(cell).wrap(console, console.width - indent, overflow="fold")
            name = f"{column:<{label}}" if beside else f"{column}\n"
            console.print(Text(name) + Text(f"\n{' ' * indent}").join(lines), soft_wrap=True)
