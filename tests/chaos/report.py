"""What a run of faults showed: as JSON for machines, as a table for people. Nothing is rounded away or left out."""

import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.history import Fault


@dataclass(frozen=True, slots=True)
class HistoryResult:
    """One history as it went; `wrong` are the sentences of oracle and verify, or why nothing is proven."""

    name: str
    seed: int
    kafka: str
    records: int
    seconds: float
    faults: Sequence[Fault]
    wrong: Sequence[str]


@dataclass(frozen=True, slots=True)
class Row:
    """All faults of one kind; times in seconds, of those after which new events came before the next fault."""

    kind: str
    fired: int
    least_in_flight: int
    recovered: int
    median_s: float | None
    max_s: float | None


@dataclass
class Report:
    """One run. `left_out` says what this machine could not do."""

    seed: int
    command: str
    histories: list[HistoryResult] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether there is a history, and nothing is wrong in any."""
        return bool(self.histories) and not any(result.wrong for result in self.histories)

    def rows(self) -> Sequence[Row]:
        """One row a kind of fault, in the order of their names."""
        kinds: dict[str, list[Fault]] = {}
        for result in self.histories:
            for fault in result.faults:
                kinds.setdefault(fault.kind, []).append(fault)
        return [_row(kind, faults) for kind, faults in sorted(kinds.items())]

    def as_json(self) -> Mapping[str, Any]:
        points = Counter(
            fault.detail for result in self.histories for fault in result.faults if ":" in fault.detail
        )
        return {
            "seed": self.seed,
            "repeat": self.command,
            "holds": self.holds,
            "left_out": self.left_out,
            "histories": [
                {
                    "name": result.name,
                    "seed": result.seed,
                    "kafka": result.kafka,
                    "records": result.records,
                    "seconds": round(result.seconds, 1),
                    "faults": len(result.faults),
                    "wrong": list(result.wrong),
                }
                for result in self.histories
            ],
            "faults": [
                {
                    "fault": row.kind,
                    "fired": row.fired,
                    "least_in_flight": row.least_in_flight,
                    "recovered": row.recovered,
                    "median_s": _rounded(row.median_s),
                    "max_s": _rounded(row.max_s),
                }
                for row in self.rows()
            ],
            "points": dict(sorted(points.items())),
        }

    def write(self, path: Path) -> None:
        """The JSON, whole or not at all."""
        beside = path.with_suffix(f"{path.suffix}.part")
        beside.write_text(json.dumps(self.as_json(), indent=2) + "\n", encoding="utf-8")
        beside.replace(path)

    def show(self, console: Console) -> None:
        """The table, what was left out, and what is wrong."""
        table = Table(title=f"Faults, seed {self.seed}")
        for heading in ("fault", "fired", "in flight, least", "recovered", "median s", "max s"):
            table.add_column(heading, justify="left" if heading == "fault" else "right")
        for row in self.rows():
            times = ["" if each is None else f"{each:.1f}" for each in (row.median_s, row.max_s)]
            table.add_row(row.kind, str(row.fired), str(row.least_in_flight), str(row.recovered), *times)
        console.print(table)
        for result in self.histories:
            outcome = "holds" if not result.wrong else f"{len(result.wrong)} wrong"
            console.print(
                f"{result.name} (seed {result.seed}, {result.kafka}): {len(result.faults)} faults, "
                f"{result.records} records, {result.seconds:.0f} s: {outcome}"
            )
            for sentence in result.wrong:
                console.print(f"  {sentence}", markup=False)
            if result.wrong and result.name.startswith("storm"):
                console.print(
                    f"  repeat: python -m tests.chaos --only storm --seed {result.seed}", highlight=False
                )
        for sentence in self.left_out:
            console.print(f"left out: {sentence}")


def _row(kind: str, faults: Sequence[Fault]) -> Row:
    times = [fault.recovered_s for fault in faults if fault.recovered_s is not None]
    return Row(
        kind,
        fired=len(faults),
        least_in_flight=min(fault.in_flight for fault in faults),
        recovered=len(times),
        median_s=statistics.median(times) if times else None,
        max_s=max(times, default=None),
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)
