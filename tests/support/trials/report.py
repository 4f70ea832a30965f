"""How large a trial is, what it reports, and its end as a command: what all trials have in common."""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.support.trials.load import Seen

MOST_SLOWER = 2.0
"""Live freshness at most doubles at its 99th percentile."""
_MOST_WRONGS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """So many `kills` on the way, so much `load` a second, also for `quiet_s` while nothing else is done."""

    kills: int
    load: int = 50
    quiet_s: float = 30.0
    seed: int = 7


@dataclass(slots=True, kw_only=True)
class Report:
    """What was measured, and everything that is `wrong`; freshness is that of load alone, and beside the trial."""

    quiet: Seen = field(default_factory=Seen)
    loaded: Seen = field(default_factory=Seen)
    kills: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def slower(self) -> float:
        """By how much the 99th percentile of freshness grew beside the trial."""
        return round(self.loaded.quantile_s(0.99) / max(0.001, self.quiet.quantile_s(0.99)), 2)

    def beyond(self) -> list[str]:
        """Which bounds are not kept. On a machine that others use they mean nothing."""
        return [f"freshness grew by {self.slower}"] if self.slower > MOST_SLOWER else []

    def note_readers(self) -> None:
        """What readers must not see, of all that they saw."""
        missed, went_back = (
            sum(getattr(each, name) for each in (self.quiet, self.loaded)) for name in ("missed", "went_back")
        )
        if missed or went_back:
            self.wrong.append(f"{missed} missed, {went_back} went back")

    def to_json(self) -> dict[str, Any]:
        """For people and for scripts."""
        return {
            "quiet": self.quiet.to_json(),
            "loaded": self.loaded.to_json(),
            "p99_grew": self.slower,
            "kills": self.kills,
            "wrong": self.wrong[:_MOST_WRONGS],
            "wrongs": len(self.wrong),
            "beyond": self.beyond(),
        }


def common_arguments(parser: argparse.ArgumentParser, *, kills: int) -> None:
    """The arguments of every trial."""
    parser.add_argument("--learners", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=kills)
    parser.add_argument("--load", type=int, default=50, help="events a second meanwhile")
    parser.add_argument(
        "--quiet", type=float, default=30.0, help="seconds of load while nothing else is done"
    )


def finish(size: Size, report: Report) -> int:
    """Print the report; the exit code."""
    shown: Mapping[str, Any] = {"size": asdict(size), **report.to_json()}
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")
    return 1 if report.wrong or report.beyond() else 0


def common_size(options: argparse.Namespace) -> Mapping[str, Any]:
    """What the common arguments say of a `Size`."""
    return {"kills": options.kills, "load": options.load, "quiet_s": options.quiet}
