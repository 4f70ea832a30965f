"""The contestants in interleaved rounds on the same records, and the ratios that the goals speak of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from bench.contestants import field as contestants
from bench.contestants.field import Contestant, limit
from bench.figures import figure, ratio
from bench.final_documents import write_final_documents
from bench.fixture import Fixture, publish_workload
from bench.goals import Measured
from bench.race import Run, run_once
from bench.records import Workload
from worker.errors import WorkerError

TOPIC = "comparison"
PARTITIONS = 4
Way = tuple[int, int, str]
# Ways to insert the final documents: batch, connections a collection, order. The fastest in one run each is the limit
# of the rounds.
LIMIT_WAYS: Sequence[Way] = tuple(product((5_000, 20_000), (1, 2), ("arrival", "metadata")))
# Those that were best at some time, where there is no time for all.
FEW_WAYS: Sequence[Way] = (
    (5_000, 1, "arrival"),
    (5_000, 2, "arrival"),
    (20_000, 1, "arrival"),
    (5_000, 1, "metadata"),
)

# Goal, and whose rate ours is divided by.
AGAINST: Mapping[str, str] = {
    "limit": "limit",
    "equal": contestants.EQUAL.name,
    "connector": contestants.CONNECT.name,
    "bare": contestants.BARE.name,
    "faststream": contestants.FASTSTREAM.name,
}
OURS = contestants.INGEST.name
EVERYTHING = contestants.EVERYTHING.name

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All runs in their order; who could not run, and why; what each does; which ways to the limit were tried."""

    runs: Sequence[Run]
    absent: Mapping[str, str]
    work: Mapping[str, str]
    limits_tried: Sequence[Mapping[str, Any]] = field(default_factory=list)

    def of(self, name: str) -> list[Run]:
        """One contestant's runs, a round each."""
        return [run for run in self.runs if run.contestant == name]

    def rates(self, name: str) -> list[float]:
        return [run.rate for run in self.of(name)]


def able(field_: Sequence[Contestant], has: Mapping[str, bool]) -> tuple[list[Contestant], dict[str, str]]:
    """Who can run here, and of the others what is missing."""
    missing = {
        "java": "needs Java 17 and Maven, which are not on this machine",
        "peers": "needs the environment of the peers: make bench",
    }
    absent = {
        each.name: missing[next(need for need in each.needs if not has[need])]
        for each in field_
        if not all(has[need] for need in each.needs)
    }
    return [each for each in field_ if each.name not in absent], absent


async def compare(
    given: Fixture,
    workload: Workload,
    rounds: int,
    field_: Sequence[Contestant],
    ways: Sequence[Way],
    has: Mapping[str, bool],
    say: Say,
) -> Comparison:
    """1. records into Kafka  2. final documents into files  3. the best way to the limit  4. rounds.

    A contestant that fails once is left out, with its message; ours that fails raises: nothing can be compared then.
    """
    # 1.
    records = await publish_workload(given, TOPIC, PARTITIONS, workload)
    # 2.
    folder = given.folder / "final"
    folder.mkdir()
    write_final_documents(folder, TOPIC, records)
    # 3.
    best, tried = await _best_limit(given, folder, workload, ways, say)
    # 4.
    present, absent = able(field_, has)
    runs: list[Run] = []
    for _ in range(rounds):
        for contestant in (*present, best):
            if contestant.name in absent:
                continue
            try:
                runs.append(await run_once(given, contestant, TOPIC, workload))
            except WorkerError as error:
                if contestant.name in (OURS, EVERYTHING):
                    raise
                absent[contestant.name] = f"failed: {str(error).splitlines()[0]}"
                say(f"{contestant.name} {error}")
            else:
                say(described(runs[-1]))
    kept = [run for run in runs if run.contestant not in absent]
    return Comparison(kept, absent, {each.name: each.work for each in (*field_, best)}, tried)


async def _best_limit(
    given: Fixture, folder: Path, workload: Workload, ways: Sequence[Way], say: Say
) -> tuple[Contestant, list[dict[str, Any]]]:
    tried = []
    for way in ways:
        contestant = limit(folder, *way)
        run = await run_once(given, contestant, TOPIC, workload)
        tried.append((run.rate, contestant))
        say(f"{contestant.work}: {run.rate:,.0f} events/s")
    best = max(tried, key=lambda each: each[0])[1]
    return best, [{"way": each.work, "events_per_s": round(rate)} for rate, each in tried]


def described(run: Run) -> str:
    """One line for whoever watches."""
    if run.wrong:
        return f"{run.contestant}: WRONG, {run.wrong}"
    own, server = (seconds * 1e6 / run.events for seconds in (run.cpu_s, run.mongod_cpu_s))
    return f"{run.contestant}: {run.rate:,.0f} events/s; CPU an event {own:.0f} µs, mongod {server:.0f} µs"


def goals_of(comparison: Comparison) -> tuple[dict[str, Measured], dict[str, str]]:
    """What the rounds say of the goals, and why the others are open."""
    ours, everything = comparison.of(OURS), comparison.of(EVERYTHING)
    found: dict[str, Measured] = {}
    missing: dict[str, str] = {}
    for key, name in AGAINST.items():
        _add(found, missing, key, comparison, OURS, name)
    _add(found, missing, "everything", comparison, EVERYTHING, OURS)
    cpu = [run.cpu_s * 1e6 / run.events for run in ours]
    found["ingest_cpu"] = Measured(figure(cpu), where_time_goes(ours))
    more = [
        (both.cpu_s - alone.cpu_s) * 1e6 / both.events for both, alone in zip(everything, ours, strict=True)
    ]
    found["projected_cpu"] = Measured(figure(more), "CPU with everything on, less that of ingest alone")
    peak = [run.peak_bytes / 2**20 for run in everything]
    found["memory"] = Measured(figure(peak), "peak resident memory, interpreter included")
    return found, missing


def _add(
    found: dict[str, Measured],
    missing: dict[str, str],
    key: str,
    comparison: Comparison,
    name: str,
    other: str,
) -> None:
    mine, theirs = comparison.rates(name), comparison.rates(other)
    if other in comparison.absent:
        missing[key] = comparison.absent[other]
    elif not theirs:
        missing[key] = f"{other} was left out"
    elif not all((*mine, *theirs)):
        wrong = next(run for run in comparison.runs if run.contestant in (name, other) and run.wrong)
        missing[key] = f"{wrong.contestant} left something wrong: {wrong.wrong}"
    else:
        found[key] = Measured(ratio(mine, theirs), where_time_goes(comparison.of(name)))


def where_time_goes(runs: Sequence[Run]) -> str:
    """Who keeps the machine busy: what a ratio below its goal has to be explained from first."""
    wall, own, server = (
        median(getattr(run, name) * 1e6 / run.events for run in runs)
        for name in ("seconds", "cpu_s", "mongod_cpu_s")
    )
    return f"of {wall:.0f} µs an event the worker computes {own:.0f}, mongod {server:.0f}"
