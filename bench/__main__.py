"""`make bench` and `make bench-full`: everything that is promised in numbers, measured in one run on one machine.

`--only PART` measures one part alone, for example `many`; with `--events` it takes as little time as one likes.
`curricula` is measured by itself only.
"""

import argparse
import asyncio
import logging
import subprocess
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from bench import curricula, parts
from bench.comparison import LIMIT_WAYS, Way
from bench.contestants.at_commit import at_commit, checkout
from bench.contestants.field import (
    BARE,
    EQUAL,
    EVERYTHING,
    FASTSTREAM,
    FIELD,
    INGEST,
    PEERS,
    ROOT,
    Contestant,
)
from bench.fixture import CLOCK, Fixture, fixture, kafka_here
from bench.goals import check_goals
from bench.many import scenes
from bench.parts import ALONE, GOALS_OF, Found
from bench.records import MANY_EVENTS, Workload
from bench.report import Result, Say, markdown, print_result, write_result
from worker.devstack.servers.stack import KafkaKind

FOLDER = ROOT / "docs" / "benchmarks"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done: what fits into the time that somebody waits, or what a promise needs.

    `events` are of the few learners who take turns, `many` of the many. What is empty, 0 or False is a part, or a
    row of it, that is left out.
    """

    kind: str
    events: int
    many: int
    rounds: int
    field: Sequence[Contestant] = FIELD
    limit_ways: Sequence[Way] = LIMIT_WAYS
    latency_s: float = 0.0
    samples: bool = True
    refold_rounds: int = 0
    stored: Sequence[int] = ()
    workers: Sequence[int] = ()
    partitions: Sequence[int] = (4, 12)
    pairs: Sequence[curricula.Pair] = ()


QUICK = Size(
    "bench",
    events=20_000,
    many=MANY_EVENTS,
    rounds=1,
    field=(INGEST, BARE, FASTSTREAM, EQUAL),
    limit_ways=(),
    samples=False,
)
FULL = Size(
    "bench-full",
    events=85_000,
    many=MANY_EVENTS,
    rounds=3,
    latency_s=60,  # mongod writes a checkpoint every 60 s: each rate meets one
    refold_rounds=3,
    stored=(100_000, 1_000_000, 3_000_000),
    workers=(1, 2, 4),
)
_TOO_LONG = "takes too long for `make bench`: see the last `make bench-full`"


async def measure(size: Size, kind: KafkaKind, console: Console, only: Collection[str] = ()) -> Result:
    """All parts, or those that are asked for, one after the other, on the same servers."""
    every_goal = (goal for goals in GOALS_OF.values() for goal in goals)
    found, say = Found(missing=dict.fromkeys(every_goal, _TOO_LONG)), console.print
    asked = {goal for key in only or GOALS_OF.keys() - ALONE for goal in GOALS_OF[key]}
    async with fixture(kind) as given:
        for key, part in _parts(given, size, found, say):
            if only and key not in only:
                continue
            began = CLOCK.monotonic()
            await found.add(key, part, say)
            say(f"{key}: {CLOCK.monotonic() - began:.0f} s")
    return Result(
        kind=" --only ".join((size.kind, *only)),
        events=size.events,
        rounds=size.rounds,
        kafka=kind,
        goals=[row for row in check_goals(found.measured, found.missing) if row.goal.key in asked],
        sections=found.sections,
        data=found.data,
    )


def _parts(
    given: Fixture, size: Size, found: Found, say: Say
) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
    """By name, in the order of the issue's goals; later ones use what earlier ones found."""
    workload, has = Workload(size.events), {"java": given.kind == "apache", "peers": PEERS.exists()}
    seen = scenes(size.events, size.many)
    yield "many", partial(parts.few_and_many, given, seen, size.rounds, found, say)
    if size.field:
        ways = size.limit_ways
        yield (
            "contestants",
            partial(parts.contestants, given, workload, size.rounds, size.field, ways, has, found, say),
        )
    if size.latency_s:
        yield "latency", partial(parts.latency, given, size.latency_s, found, say)
    if size.samples:
        yield "cost", partial(parts.cost, given, seen[:2], found)
    if size.refold_rounds:
        yield "refold", partial(parts.refold, given, workload, size.refold_rounds, found, say)
    if size.stored:
        yield "growth", partial(parts.growth, given, size.stored, workload, found, say)
    if size.pairs:
        yield "curricula", partial(parts.known_courses, given, size.pairs, size.rounds, found, say)
    if size.workers:
        more = replace(workload, events=2 * size.events)
        yield "scale", partial(parts.scale, given, size.partitions, size.workers, more, found, say)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the sizes that the promises speak of")
    parser.add_argument("--only", action="append", choices=tuple(GOALS_OF), help="this part; may be repeated")
    parser.add_argument("--events", type=int, help="records of few learners, and of many: 2.4 a learner")
    parser.add_argument("--rounds", type=int)
    parser.add_argument(
        "--kafka", choices=("apache", "embedded"), help="default: apache where Java and Maven are"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    size = FULL if options.full else QUICK
    events, many = options.events or size.events, options.events or size.many
    size = replace(size, events=events, many=many, rounds=options.rounds or size.rounds)
    known_courses = "curricula" in (options.only or ())
    if not size.latency_s and (left_out := set(options.only or ()) - {"many", "contestants", *ALONE}):
        parser.error(f"{', '.join(sorted(left_out))}: only with --full")
    # A topic that was just created is unknown for some time: no news.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    console = Console(soft_wrap=True)
    with checkout(curricula.BEFORE) if known_courses else nullcontext() as tree:
        if known_courses:
            pairs = curricula.pairs(
                options.events or curricula.INGEST_EVENTS,
                options.events or curricula.MANY_EVENTS,
                None if tree is None else at_commit(EVERYTHING, tree),
            )
            size = replace(size, pairs=pairs, rounds=options.rounds or max(size.rounds, curricula.ROUNDS))
        result = asyncio.run(measure(size, options.kafka or kafka_here(), console, options.only or ()))
    if options.only:
        # No result of the whole: nothing is written. As a page, whose lines are as long as they are.
        console.print(markdown(result), markup=False, highlight=False)
        return
    print_result(console, result)
    path = write_result(options.folder, result)
    if PEERS.exists():
        subprocess.run([str(PEERS), "-m", "bench.plot", str(path)], cwd=ROOT, check=True)  # noqa: S603 - our own module
    console.print(f"written: {path}")


if __name__ == "__main__":
    main()
