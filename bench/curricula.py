"""What it costs that courses are known: ingest and all roles, each beside itself without stamps, on the same records.

All roles run beside an earlier commit as well, the last one that stamped nothing: their figure before. This table
alone is printed by `python -m bench --only curricula`, within ten minutes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.contestants.field import (
    EVERYTHING,
    EVERYTHING_UNSTAMPED,
    INGEST,
    INGEST_UNSTAMPED,
    Contestant,
)
from bench.figures import figure, ratio, shown
from bench.fixture import Fixture, publish_workload
from bench.goals import Measured
from bench.race import Run, described, run_once, where_time_goes
from bench.records import AnyWorkload, ManyLearners, Workload
from bench.report import Say, Section

# Long courses, all in use at once: ingest begins with decoding 60,000 lessons, once in the life of a process.
KNOWN_COURSES, KNOWN_LESSONS = 200, 300
# A course of the usual length. A record has an entry for each of its lessons, whether the learner opens it or not.
RECORD_LESSONS = 66
# As many as let each run take about twenty seconds: what a run begins with must not decide.
INGEST_EVENTS, MANY_EVENTS = 150_000, 36_000
ROUNDS = 3
GOALS = ("stamping", "curricula", "before")
BEFORE = "bf14ba407ef9a067a364349aa149d6cde24b06e7"
"""The last commit whose events carried nothing of their course, and whose records showed opened lessons only."""
_NO_COMMIT = "git does not give that commit here"
_NOTES = (
    "Documents of all courses and learners stand in the store in every run. Without stamps the worker reads none of",
    "them, its events carry nothing of them, and records show only lessons that somebody opened.",
    "CPU: of worker and mongod together, an event. Ratios are of the medians; ranges are of the runs of one round.",
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A contestant, and itself without stamps or as it was before; `goal` is that of the ratio of their rates."""

    goal: str
    title: str
    workload: AnyWorkload
    known: Contestant
    without: Contestant


def pairs(ingest_events: int, many_events: int, before: Contestant | None = None) -> Sequence[Pair]:
    """Ingest of events of long courses, and all roles with many learners of courses of the usual length.

    `before` is all roles as they were before there were stamps, where that can be had.
    """
    taking_turns = Workload(ingest_events, courses=KNOWN_COURSES, lessons=KNOWN_LESSONS, present=True)
    many = ManyLearners(many_events, lessons=RECORD_LESSONS, present=True)
    title = f"all roles, {many.learners:,} learners, courses of {RECORD_LESSONS} lessons"
    taken = [
        Pair(
            "stamping",
            f"ingest, {KNOWN_COURSES} courses of {KNOWN_LESSONS} lessons",
            taking_turns,
            INGEST,
            INGEST_UNSTAMPED,
        ),
        Pair("curricula", title, many, EVERYTHING, EVERYTHING_UNSTAMPED),
    ]
    if before is not None:
        taken.append(Pair("before", title, many, EVERYTHING, before))
    return taken


PairRuns = Mapping[str, tuple[Sequence[Run], Sequence[Run]]]
"""By the pair's goal its runs, a round each: with what is known, and without."""


async def measure_pairs(given: Fixture, taken: Sequence[Pair], rounds: int, say: Say) -> PairRuns:
    """Interleaved rounds; who comes first takes turns, so that neither always meets what the other left behind."""
    found: dict[str, tuple[list[Run], list[Run]]] = {pair.goal: ([], []) for pair in taken}
    for number in range(rounds):
        for pair in taken:
            published = await publish_workload(given, pair.goal, pair.workload)
            sides = [0, 1] if number % 2 == 0 else [1, 0]
            for side in sides:
                run = await run_once(given, (pair.known, pair.without)[side], published)
                found[pair.goal][side].append(run)
                say(f"{pair.title}: {described(run)}")
    return found


def pair_goals(taken: Sequence[Pair], found: PairRuns) -> tuple[dict[str, Measured], dict[str, str]]:
    """The ratios of the rates, and why one is open."""
    measured: dict[str, Measured] = {}
    missing = dict.fromkeys(set(GOALS) - {pair.goal for pair in taken}, _NO_COMMIT)
    for pair in taken:
        known, without = found[pair.goal]
        wrong = next((run for run in (*known, *without) if run.wrong), None)
        if wrong is not None:
            missing[pair.goal] = f"{wrong.contestant} left something wrong: {wrong.wrong}"
            continue
        rates = ratio([run.rate for run in known], [run.rate for run in without])
        limits = f"{where_time_goes(known)}; {pair.without.name} {where_time_goes(without)}"
        measured[pair.goal] = Measured(rates, limits)
    return measured, missing


def pairs_section(taken: Sequence[Pair], found: PairRuns, rounds: int) -> Section:
    """A row for each contestant of a pair: rates and CPU, and of the first what they are of the second's."""
    columns = (
        "what",
        "contestant",
        "events/s",
        "worker µs",
        "mongod µs",
        "bytes an event",
        "rate of the other's",
        "CPU of the other's",
        "complete",
    )
    rows = []
    for pair in taken:
        known, without = found[pair.goal]
        rows += [_cells(pair.title, known, without), _cells(pair.title, without, ())]
    return Section(f"What known courses cost, {rounds} interleaved rounds", columns, rows, _NOTES)


def _cells(title: str, runs: Sequence[Run], others: Sequence[Run]) -> list[str]:
    rates = figure([run.rate for run in runs])
    of_rate = of_cpu = ""
    if others and all(run.rate for run in (*runs, *others)):
        rate = ratio([run.rate for run in runs], [run.rate for run in others])
        cpu = ratio(cpu_us(runs), cpu_us(others))
        of_rate, of_cpu = (f"{each.median:.3f} ({each.low:.3f}-{each.high:.3f})" for each in (rate, cpu))
    wrong = next((run.wrong for run in runs if run.wrong), "")
    return [
        title,
        runs[0].contestant,
        f"{shown(rates.median)} ({rates.spread})",
        *(
            shown(median(run.us_per_event(getattr(run, name)) for run in runs))
            for name in ("cpu_s", "mongod_cpu_s")
        ),
        shown(median(run.stored_bytes for run in runs)),
        of_rate,
        of_cpu,
        f"NO: {wrong}" if wrong else "yes",
    ]


def cpu_us(runs: Sequence[Run]) -> list[float]:
    """What worker and mongod together compute for an event, run by run."""
    return [run.us_per_event(run.cpu_s + run.mongod_cpu_s) for run in runs]


def pairs_json(taken: Sequence[Pair], found: PairRuns) -> list[dict[str, Any]]:
    """An object for each contestant of a pair, with a value for each round."""
    return [
        {
            "goal": pair.goal,
            "name": contestant.name,
            "events": pair.workload.events,
            "events_per_s": [round(run.rate) for run in runs],
            "cpu_us_per_event": [round(run.us_per_event(run.cpu_s), 1) for run in runs],
            "mongod_cpu_us_per_event": [round(run.us_per_event(run.mongod_cpu_s), 1) for run in runs],
            "wrong": [run.wrong for run in runs if run.wrong],
        }
        for pair in taken
        for contestant, runs in zip((pair.known, pair.without), found[pair.goal], strict=True)
    ]
