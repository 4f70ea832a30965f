"""`make bench` and `make bench-full`: everything that is promised in numbers, measured in one run on one machine."""

import argparse
import asyncio
import logging
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench.comparison import compare, goals_of
from bench.contestants.field import FIELD, PEERS, ROOT, Contestant
from bench.fixture import fixture, kafka_here
from bench.goals import judge
from bench.records import Workload
from bench.report import Result, contestants_json, contestants_section, print_result, write_result

FOLDER = ROOT / "docs" / "benchmarks"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done: what fits into the time that somebody waits, or what a promise needs."""

    kind: str
    events: int
    rounds: int


QUICK = Size("bench", 20_000, 3)
FULL = Size("bench-full", 100_000, 5)


async def measure(size: Size, field: Sequence[Contestant], console: Console) -> Result:
    """All parts, one after the other, on the same servers."""
    kind = kafka_here()
    has = {"java": kind == "apache", "peers": PEERS.exists()}
    workload = Workload(size.events)
    async with fixture(kind) as given:
        comparison = await compare(given, workload, size.rounds, field, has, console.print)
    found, missing = goals_of(comparison)
    missing |= dict.fromkeys(("latency", "growth", "refold"), "left out of this run")
    return Result(
        kind=size.kind,
        events=size.events,
        rounds=size.rounds,
        kafka=kind,
        goals=judge(found, missing),
        sections=[contestants_section(comparison, size.rounds)],
        data={"contestants": contestants_json(comparison), "limits_tried": list(comparison.limits_tried)},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the sizes that the promises speak of")
    parser.add_argument("--events", type=int, help="records of the comparison")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    size = FULL if options.full else QUICK
    size = Size(size.kind, options.events or size.events, options.rounds or size.rounds)
    # A topic that was just created is unknown for a moment: no news.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    console = Console(soft_wrap=True)
    result = asyncio.run(measure(size, FIELD, console))
    print_result(console, result)
    path = write_result(options.folder, result)
    if PEERS.exists():
        subprocess.run([str(PEERS), "-m", "bench.plot", str(path)], cwd=ROOT, check=True)  # noqa: S603 - our own module
    console.print(f"written: {path}")


if __name__ == "__main__":
    main()
