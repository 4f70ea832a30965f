"""The result as JSON, as tables on a terminal, and as a page in docs/benchmarks."""

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.goals import Row

Say = Callable[[str], None]

# Characters, borders included: narrower columns break their words.
_NARROWEST_COLUMN = 11


@dataclass(frozen=True, slots=True)
class Section:
    """A table besides the goals: `notes` stand below it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """Everything of one run of the benchmark."""

    kind: str
    events: int
    rounds: int
    kafka: str
    goals: Sequence[Row]
    sections: Sequence[Section]
    data: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "kafka": self.kafka,
            "events": self.events,
            "rounds": self.rounds,
            "goals": [row.as_json() for row in self.goals],
            **self.data,
        }


def machine() -> dict[str, Any]:
    """What the figures depend on; the load says whether others were at work, too."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "python": platform.python_version(),
        "load_average": [round(each, 1) for each in os.getloadavg()],
    }


def goals_section(goals: Sequence[Row]) -> Section:
    return Section(
        "Goals", ("goal", "wanted", "measured", "met", "reason"), [row.as_cells() for row in goals]
    )


def print_result(console: Console, result: Result) -> None:
    """All tables; one with more columns than the terminal has room for comes as a list, a line for each cell."""
    for section in (*result.sections, goals_section(result.goals)):
        if len(section.columns) * _NARROWEST_COLUMN <= console.width:
            console.print(_table(section))
        else:
            _print_list(console, section)
        for note in section.notes:
            console.print(note)


def _table(section: Section) -> Table:
    table = Table(title=section.title)
    for column in section.columns:
        table.add_column(column)
    for row in section.rows:
        table.add_row(*row)
    return table


def _print_list(console: Console, section: Section) -> None:
    """Each row under its first two cells, which say what it is of."""
    console.print(section.title, style="bold")
    for row in section.rows:
        console.print(f"{row[0]}: {row[1]}")
        for column, cell in zip(section.columns[2:], row[2:], strict=True):
            if cell:
                console.print(f"    {column}: {cell}")


def markdown(result: Result) -> str:
    """The same as a page."""
    host = machine()
    load = " ".join(str(each) for each in host["load_average"])
    about = (
        f"{result.events:,} events, {result.rounds} rounds, {result.kafka} Kafka, {host['cores']} cores, Python "
        f"{host['python']}, load average at the end {load}. Written by the command; how to read it: README.md here."
    )
    lines = [f"# `make {result.kind}` of {datetime.now(UTC).date()}", "", about]
    for section in (goals_section(result.goals), *result.sections):
        lines += [
            "",
            f"## {section.title}",
            "",
            _line(section.columns),
            _line(["---"] * len(section.columns)),
        ]
        lines += [_line(row) for row in section.rows]
        lines += ["", *section.notes] if section.notes else []
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def write_result(folder: Path, result: Result) -> Path:
    """`KIND.json` and `KIND.md`; returns the JSON's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.kind}.json"
    path.write_text(json.dumps(result.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(markdown(result), encoding="utf-8")
    return path
