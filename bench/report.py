"""The result as JSON, as tables on a terminal, and as a page in docs/benchmarks."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.comparison import Comparison
from bench.figures import figure, shown
from bench.goals import Row


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


def contestants_json(comparison: Comparison) -> list[dict[str, Any]]:
    """One object a contestant, absent ones included."""
    rows: list[dict[str, Any]] = []
    for name, work in comparison.work.items():
        runs = comparison.of(name)
        if not runs:
            rows.append({"name": name, "work": work, "absent": comparison.absent.get(name, "left out")})
            continue
        rows.append(
            {
                "name": name,
                "work": work,
                "events_per_s": [round(run.rate) for run in runs],
                "cpu_us_per_event": [round(run.cpu_s * 1e6 / run.events, 1) for run in runs],
                "mongod_cpu_us_per_event": [round(run.mongod_cpu_s * 1e6 / run.events, 1) for run in runs],
                "stored_bytes_per_event": [round(run.stored_bytes) for run in runs],
                "peak_mib": [round(run.peak_bytes / 2**20) for run in runs],
                "wrong": [run.wrong for run in runs if run.wrong],
            }
        )
    return rows


def contestants_section(comparison: Comparison, rounds: int) -> Section:
    """The comparison as a table, fastest first."""
    rows = []
    for each in contestants_json(comparison):
        if "absent" in each:
            rows.append((0.0, [each["name"], *[""] * 5, each["absent"]]))
            continue
        rates, own, server = (
            figure(each[key]) for key in ("events_per_s", "cpu_us_per_event", "mongod_cpu_us_per_event")
        )
        wrong = f"; WRONG: {each['wrong'][0]}" if each["wrong"] else ""
        cells = [
            each["name"],
            f"{shown(rates.median)} ({rates.spread})",
            shown(own.median),
            shown(server.median),
            shown(figure(each["stored_bytes_per_event"]).median),
            shown(figure(each["peak_mib"]).median),
            each["work"] + wrong,
        ]
        rows.append((rates.median, cells))
    columns = (
        "contestant",
        "events/s",
        "CPU µs/event",
        "mongod µs/event",
        "bytes/event",
        "peak MiB",
        "what it does",
    )
    ordered = [cells for _, cells in sorted(rows, key=lambda row: -row[0])]
    return Section(f"Contestants, medians of {rounds} interleaved rounds (lowest-highest)", columns, ordered)


def goals_section(goals: Sequence[Row]) -> Section:
    return Section(
        "Goals", ("goal", "wanted", "measured", "met", "reason"), [row.as_cells() for row in goals]
    )


def print_result(console: Console, result: Result) -> None:
    """All tables."""
    for section in (*result.sections, goals_section(result.goals)):
        table = Table(title=section.title)
        for column in section.columns:
            table.add_column(column)
        for row in section.rows:
            table.add_row(*row)
        console.print(table)
        for note in section.notes:
            console.print(note)


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
