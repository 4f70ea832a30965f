"""`make bench` and `make bench-full`: everything that is promised in numbers, measured in one run on one machine."""

import argparse
import asyncio
import logging
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from bench import parts
from bench.comparison import FEW_WAYS, LIMIT_WAYS, Comparison, Say, Way, compare, goals_of
from bench.contestants.field import FIELD, PEERS, ROOT, Contestant
from bench.fixture import CLOCK, Fixture, fixture, kafka_here
from bench.goals import check_goals
from bench.parts import Found
from bench.records import Workload
from bench.report import Result, contestants_json, contestants_section, print_result, write_result
from worker.devstack.servers.stack import KafkaKind

FOLDER = ROOT / "docs" / "benchmarks"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done: what fits into the time that somebody waits, or what a promise needs.

    What is empty, 0 or False is a part that is left out.
    """

    kind: str
    events: int
    rounds: int
    latency_s: float
    refold_rounds: int
    stored: Sequence[int] = ()
    learners: Sequence[int] = ()
    workers: Sequence[int] = ()
    partitions: Sequence[int] = (4, 12)
    limit_ways: Sequence[Way] = LIMIT_WAYS
    samples: bool = True


QUICK = Size("bench", events=20_000, rounds=3, latency_s=8, refold_rounds=2, limit_ways=FEW_WAYS)
FULL = Size(
    "bench-full",
    events=100_000,
    rounds=3,
    latency_s=60,  # mongod writes a checkpoint every 60 s: each rate meets one
    refold_rounds=3,
    stored=(100_000, 1_000_000, 3_000_000),
    learners=(200, 2_000, 200_000),
    workers=(1, 2, 4),
)
_TOO_LONG = "takes too long for `make bench`: see the last `make bench-full`"


async def measure(size: Size, kind: KafkaKind, field: Sequence[Contestant], console: Console) -> Result:
    """All parts, one after the other, on the same servers."""
    has = {"java": kind == "apache", "peers": PEERS.exists()}
    workload, found, say = (
        Workload(size.events),
        Found(missing=dict.fromkeys(("growth", "latency", "refold"), _TOO_LONG)),
        console.print,
    )
    async with fixture(kind) as given:
        comparison = await compare(given, workload, size.rounds, field, size.limit_ways, has, say)
        found.measured, missing = goals_of(comparison)
        found.missing |= missing
        found.sections.append(contestants_section(comparison, size.rounds))
        for key, part in _parts(given, size, comparison, workload, found, say):
            began = CLOCK.monotonic()
            await found.add(key, part, say)
            say(f"{key}: {CLOCK.monotonic() - began:.0f} s")
    return Result(
        kind=size.kind,
        events=size.events,
        rounds=size.rounds,
        kafka=kind,
        goals=check_goals(found.measured, found.missing),
        sections=found.sections,
        data={
            "contestants": contestants_json(comparison),
            "limits_tried": list(comparison.limits_tried),
            **found.data,
        },
    )


def _parts(
    given: Fixture, size: Size, comparison: Comparison, workload: Workload, found: Found, say: Say
) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
    """By key: that of the goal it measures, if it measures one."""
    if size.latency_s:
        yield "latency", partial(parts.latency, given, comparison, size.latency_s, found, say)
    if size.samples:
        yield "cost", partial(parts.cost, given, comparison, workload, found)
    if size.refold_rounds:
        yield "refold", partial(parts.refold, given, size.events, size.refold_rounds, found, say)
    if size.stored:
        yield "growth", partial(parts.growth, given, size.stored, size.events, found, say)
    if size.learners:
        yield "learners", partial(parts.learners, given, size.learners, 2 * size.events, found, say)
    if size.workers:
        more = replace(workload, events=2 * size.events)
        yield "scale", partial(parts.scale, given, size.partitions, size.workers, more, found, say)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the sizes that the promises speak of")
    parser.add_argument("--events", type=int, help="records of the comparison")
    parser.add_argument("--rounds", type=int)
    parser.add_argument(
        "--kafka", choices=("apache", "embedded"), help="default: apache where Java and Maven are"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    size = FULL if options.full else QUICK
    size = replace(size, events=options.events or size.events, rounds=options.rounds or size.rounds)
    # A topic that was just created is unknown for some time: no news.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    console = Console(soft_wrap=True)
    result = asyncio.run(measure(size, options.kafka or kafka_here(), FIELD, console))
    print_result(console, result)
    path = write_result(options.folder, result)
    if PEERS.exists():
        subprocess.run([str(PEERS), "-m", "bench.plot", str(path)], cwd=ROOT, check=True)  # noqa: S603 - our own module
    console.print(f"written: {path}")


if __name__ == "__main__":
    main()
