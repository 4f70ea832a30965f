"""Results as tables for people; what scripts need is printed as JSON instead."""

import json
from collections.abc import Iterable, Sequence
from textwrap import indent
from typing import Any, Self

from rich.console import Console
from rich.table import Table

from worker.replay.verification import Verification
from worker.storage.schema import Change, Difference


def print_json(value: Any) -> None:
    """Plain JSON on stdout, whatever the terminal."""
    Console(soft_wrap=True, highlight=False).print(json.dumps(value, indent=2), markup=False)


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


def print_changes(changes: Iterable[Change]) -> None:
    rows = [(change.collection, change.what, change.done) for change in changes]
    print_table(rows, ("collection", "what", "done"), empty="Nothing to do: all is as it should be.")


def print_differences(differences: Iterable[Difference]) -> None:
    rows = [(each.collection, each.what, each.expected, each.found) for each in differences]
    print_table(rows, ("collection", "what", "expected", "found"), empty="No differences.")


def print_verification(verification: Verification) -> None:
    """Counts, then what is wrong."""
    result = verification.to_json()
    counts = [
        (name.replace("_", " "), f"{value:,}")
        for name, value in result.items()
        if isinstance(value, int) and not isinstance(value, bool)
    ]
    print_table(counts, ("checked", "number"))
    print_table(
        [(reason, f"{count:,}") for reason, count in verification.dead_letter_reasons.items()],
        ("dead letters by reason", "number"),
    )
    print_table([(str(each.kind), each.subject, each.detail) for each in verification.findings], _FINDING)
    if not verification.events:
        Console().print("No event is stored here: is SEVENP_DATABASE_PREFIX right?", style="yellow")
    Console().print(
        "Everything agrees."
        if verification.ok
        else f"{sum(verification.finding_counts.values()):,} findings.",
        style="bold green" if verification.ok else "bold red",
    )


_FINDING = ("finding", "subject", "detail")


# Wider than any table: what is written to a file or a pipe has no width to keep to.
_UNBOUNDED = 10_000
# Short, and copied into filters.
_IN_ONE_PIECE = frozenset({"fingerprint", "reason", "status", "age", "oldest"})


def print_table(rows: Sequence[tuple[str, ...]], columns: tuple[str, ...], empty: str = "") -> None:
    """Rows under their columns; `empty` instead, if there are none.

    Nothing is cut off, for ids are there to be copied: cells are folded in a terminal, and never elsewhere.
    """
    console = Console()
    if not rows:
        if empty:
            console.print(empty)
        return
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in _IN_ONE_PIECE)
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    if not console.is_terminal:
        console.width = max(
            console.width, console.measure(table, options=console.options.update(width=_UNBOUNDED)).maximum
        )
    console.print(table)


def _plain(cell: str) -> str:
    """Square brackets are content here, never markup; what a terminal would obey is shown, not sent."""
    return visible(cell).replace("[", r"\[")


def visible(text: str) -> str:
    """The text with everything that cannot be printed escaped, line ends aside."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else letter.encode("unicode_escape").decode()
        for letter in text
    )
