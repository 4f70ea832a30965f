"""The contestants in interleaved rounds on the same records, and the ratios that the goals speak of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from bench.contestants import field as contestants
from bench.contestants.field import Contestant, limit
from bench.figures import figure, ratio, shown
from bench.final_documents import final_documents
from bench.fixture import Fixture, Published, publish_workload
from bench.goals import Measured
from bench.race import Run, described, run_once, where_time_goes
from bench.records import Workload
from bench.report import Say, Section
from worker.errors import WorkerError

Way = tuple[int, int, str]
# Ways to insert the final documents: batch, connections a collection, order. The fastest in one run each is the limit
# of the rounds.
LIMIT_WAYS: Sequence[Way] = tuple(product((5_000, 20_000), (1, 2), ("arrival", "metadata")))
# Goal, and whose rate ours is divided by.
AGAINST: Mapping[str, str] = {
    "limit": "limit",
    "equal": contestants.EQUAL.name,
    "connector": contestants.CONNECT.name,
    "bare": contestants.BARE.name,
    "faststream": contestants.FASTSTREAM.name,
}
FEW = "few"
OURS = contestants.INGEST.name
GOALS = (*AGAINST, "connector_cpu")


@dataclass(frozen=True, slots=True)
class Comparison:
    """All runs in their order; who could not run, and why; what each does; the ways to the limit, and the best."""

    runs: Sequence[Run]
    absent: Mapping[str, str]
    work: Mapping[str, str]
    limits_tried: Sequence[Mapping[str, Any]] = field(default_factory=list)
    best_way: Way | None = None

    def of(self, name: str) -> list[Run]:
        """One contestant's runs, a round each."""
        return [run for run in self.runs if run.contestant == name]


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
    """1. records into Kafka  2. the best way to the limit, if any is to be tried  3. rounds.

    A contestant that fails once is left out, with its message; ours that fails raises: nothing can be compared then.
    """
    # 1.
    published = await publish_workload(given, FEW, workload)
    # 2.
    best, tried = await _best_limit(given, published, ways, say)
    limits = [] if best is None else [limit(final_documents(given.folder, FEW, workload), *best)]
    # 3.
    present, absent = able(field_, has)
    runs: list[Run] = []
    for _ in range(rounds):
        for contestant in (*present, *limits):
            if contestant.name in absent:
                continue
            try:
                runs.append(await run_once(given, contestant, published))
            except WorkerError as error:
                if contestant.name == OURS:
                    raise
                absent[contestant.name] = f"failed: {str(error).splitlines()[0]}"
                say(f"{contestant.name} {error}")
            else:
                say(described(runs[-1]))
    kept = [run for run in runs if run.contestant not in absent]
    work = {each.name: each.work for each in (*field_, *limits)}
    return Comparison(kept, absent, work, tried, best)


async def _best_limit(
    given: Fixture, published: Published, ways: Sequence[Way], say: Say
) -> tuple[Way | None, list[dict[str, Any]]]:
    tried: list[tuple[float, Way]] = []
    for way in ways:
        contestant = limit(final_documents(given.folder, published.topic, published.workload), *way)
        run = await run_once(given, contestant, published)
        tried.append((run.rate, way))
        say(f"{contestant.work}: {run.rate:,.0f} events/s")
    best = max(tried)[1] if tried else None
    return best, [{"way": list(way), "events_per_s": round(rate)} for rate, way in tried]


def goals_of(comparison: Comparison) -> tuple[dict[str, Measured], dict[str, str]]:
    """What the rounds say of the goals, and why the others are open."""
    found: dict[str, Measured] = {}
    missing: dict[str, str] = {}
    for key, name in AGAINST.items():
        _add(found, missing, key, comparison, name, lambda run: run.rate)
    _add(found, missing, "connector_cpu", comparison, AGAINST["connector"], _cpu)
    return found, missing


def _cpu(run: Run) -> float:
    """Of the contestant and of mongod, an event; 0 where something is wrong."""
    return 0.0 if run.wrong else run.us_per_event(run.cpu_s + run.mongod_cpu_s)


def _add(
    found: dict[str, Measured],
    missing: dict[str, str],
    key: str,
    comparison: Comparison,
    other: str,
    value: Callable[[Run], float],
) -> None:
    ours, theirs = comparison.of(OURS), comparison.of(other)
    wrong = next((run for run in (*ours, *theirs) if run.wrong), None)
    if other in comparison.absent:
        missing[key] = comparison.absent[other]
    elif not theirs:
        missing[key] = f"{other} is left out here: see the last `make bench-full`"
    elif wrong is not None:
        missing[key] = f"{wrong.contestant} left something wrong: {wrong.wrong}"
    else:
        values = ratio([value(run) for run in ours], [value(run) for run in theirs])
        found[key] = Measured(values, f"{where_time_goes(ours)}; {other}: {where_time_goes(theirs)}")


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
