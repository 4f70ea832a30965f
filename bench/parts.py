"""The parts of the benchmark besides the comparison: each gives goals, a table and its data, or says why not."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench import comparison, curricula, many
from bench.comparison import LIMIT_WAYS, Way, compare, contestants_json, contestants_section
from bench.contestants.field import EVERYTHING, INGEST, Contestant, with_environment
from bench.contestants.sampling import VARIABLE as SAMPLES
from bench.curricula import Pair, measure_pairs, pair_goals, pairs_json, pairs_section
from bench.figures import figure, ratio, shown
from bench.final_documents import final_documents
from bench.fixture import Fixture, publish_workload
from bench.goals import Measured
from bench.growth import Grown, measure_growth
from bench.latency import latencies
from bench.many import FEW, Scene, many_goals, many_json, many_section, measure_many
from bench.race import Run, run_once, where_time_goes
from bench.records import Workload
from bench.refold import measure_refold
from bench.report import Say, Section
from bench.scale import measure_scales
from bench.stages import Sample, by_function, by_stage, read_samples
from worker.errors import Fatal, WorkerError

# By part the goals it measures.
GOALS_OF: Mapping[str, Sequence[str]] = {
    "many": many.GOALS,
    "contestants": comparison.GOALS,
    "latency": ("latency", "p50_busy", "p99_busy"),
    "cost": (),
    "refold": ("refold",),
    "growth": ("growth",),
    "scale": (),
    "curricula": curricula.GOALS,
}
ALONE = frozenset({"curricula"})
"""Parts that are measured only where they are asked for by name: there is no time for them in the others' limits."""
TOP_FUNCTIONS = 15
LATENCY_RATES = (100.0, 1_000.0)
SHARE_OF_MAXIMUM = 0.7
GOAL_RATE = 1_000.0


@dataclass
class Found:
    """What the parts have given so far; `missing` says by goal why there is nothing.

    `maximum` is the rate that all roles reach, 0 before it is known; `best_way` the way to the limit.
    """

    measured: dict[str, Measured] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    maximum: float = 0.0
    best_way: Way = LIMIT_WAYS[0]

    async def add(self, key: str, part: Callable[[], Awaitable[None]], say: Say) -> None:
        """Run a part; one that fails is reported, and the others are measured nevertheless."""
        try:
            await part()
        except WorkerError as error:
            reason = f"failed: {str(error).splitlines()[0]}"
            self.missing |= dict.fromkeys(GOALS_OF[key], reason)
            say(f"{key} {reason}")


async def few_and_many(given: Fixture, scenes: Sequence[Scene], rounds: int, found: Found, say: Say) -> None:
    """All roles, the specification's own loop and ingest alone, with few and with many learners."""
    runs = await measure_many(given, scenes, rounds, say)
    measured, missing = many_goals(runs)
    found.measured |= measured
    found.missing |= missing
    found.maximum = runs.maximum
    found.data["many"] = many_json(runs)
    found.sections.append(many_section(runs, rounds))


async def known_courses(given: Fixture, taken: Sequence[Pair], rounds: int, found: Found, say: Say) -> None:
    """What it costs that courses are known, in pairs."""
    runs = await measure_pairs(given, taken, rounds, say)
    measured, missing = pair_goals(taken, runs)
    found.measured |= measured
    found.missing |= missing
    found.data["curricula"] = pairs_json(taken, runs)
    found.sections.append(pairs_section(taken, runs, rounds))


async def contestants(
    given: Fixture,
    workload: Workload,
    rounds: int,
    field_: Sequence[Contestant],
    ways: Sequence[Way],
    has: Mapping[str, bool],
    found: Found,
    say: Say,
) -> None:
    """Ingest beside the peers, on the records of few learners."""
    compared = await compare(given, workload, rounds, field_, ways, has, say)
    measured, missing = comparison.goals_of(compared)
    found.measured |= measured
    found.missing |= missing
    found.best_way = compared.best_way or found.best_way
    found.data["contestants"] = contestants_json(compared)
    found.data["limits_tried"] = list(compared.limits_tried)
    found.sections.append(contestants_section(compared, rounds))


async def latency(given: Fixture, seconds: float, found: Found, say: Say) -> None:
    """At 100 and 1,000 events a second, and at 70 % of what all roles together reached."""
    busy = SHARE_OF_MAXIMUM * found.maximum
    measured = await latencies(given, [*LATENCY_RATES, *([busy] if busy else [])], seconds, say)
    found.data["latency"] = [each.as_json() for each in measured]
    at_goal = next(each for each in found.data["latency"] if each["rate_per_s"] == GOAL_RATE)
    found.measured["latency"] = Measured(figure([at_goal["p99_ms"]]), _limits_of(at_goal))
    if busy:
        last = found.data["latency"][-1]
        found.measured["p50_busy"] = Measured(figure([last["p50_ms"]]), _limits_of(last))
        found.measured["p99_busy"] = Measured(figure([last["p99_ms"]]), _limits_of(last))
    else:
        found.missing |= dict.fromkeys(("p50_busy", "p99_busy"), "the maximum was not measured: part `many`")
    columns = (
        "events/s",
        "published/s",
        "events watched",
        "p50 ms",
        "p99 ms",
        "max ms",
        "p99 calm ms",
        "checkpoints s",
        "peak MiB",
        "worker",
        "mongod",
    )
    rows = [
        ["" if value is None else f"{value:,}" for value in each.values()] for each in found.data["latency"]
    ]
    found.sections.append(
        Section(
            f"Published to visible in `user_progress`, {seconds:.0f} s each",
            columns,
            rows,
            (
                f"The last row is {SHARE_OF_MAXIMUM:.0%} of the median rate with everything on.",
                "Calm: of the events that were not in flight while mongod wrote a checkpoint, or shortly after.",
                "That tells nothing where the worker is behind all the time.",
                "Worker and mongod: cores in use.",
            ),
        )
    )


def _limits_of(at: Mapping[str, Any]) -> str:
    """What the same measurement says of why it took so long."""
    calm = at["p99_calm_ms"]
    of_calm = "no event met none" if calm is None else f"p99 of the events that met none is {calm} ms"
    return (
        f"{at['reached_per_s']:,} of {at['rate_per_s']:,} events/s were published; p50 {at['p50_ms']} ms. For "
        f"{at['checkpoint_s']} s mongod wrote a checkpoint; {of_calm}. Of this machine's cores the worker uses "
        f"{at['worker_cores']}, mongod {at['mongod_cores']}, others the rest"
    )


async def cost(given: Fixture, scenes: Sequence[Scene], found: Found) -> None:
    """CPU by stage and by function, from a sampled run of all roles in each scene, and of ingest with the few."""
    for scene in scenes:
        for contestant in (INGEST, EVERYTHING) if scene.name == FEW else (EVERYTHING,):
            key = f"{'ingest' if contestant is INGEST else 'everything'}_{scene.name}"
            run, samples = await _sampled(given, contestant, scene, given.folder / f"samples-{key}.json")
            stages = by_stage(samples, run.us_per_event(run.cpu_s))
            functions = by_function(samples, TOP_FUNCTIONS)
            found.data[f"cost_{key}"] = {
                "cpu_us_per_event_by_stage": {stage: round(value, 1) for stage, value in stages},
                "functions": [
                    {"name": name, "own": round(own, 4), "within": round(within, 4)}
                    for name, own, within in functions
                ],
                "stored_bytes_per_event": round(run.stored_bytes),
            }
            title = f"{contestant.name}, {scene.title}"
            found.sections.append(
                Section(
                    f"Worker CPU by stage: {title}",
                    ("stage", "µs an event"),
                    [(stage, shown(value)) for stage, value in stages],
                    (f"{sum(sample.count for sample in samples):,} samples share the CPU of their run.",),
                )
            )
            found.sections.append(
                Section(
                    f"Functions with most CPU of their own: {title}",
                    ("function", "own", "with what it calls"),
                    [(where, f"{own:.1%}", f"{within:.1%}") for where, own, within in functions],
                )
            )


async def _sampled(
    given: Fixture, contestant: Contestant, scene: Scene, path: Path
) -> tuple[Run, Sequence[Sample]]:
    published = await publish_workload(given, scene.topic, scene.workload)
    sampling = with_environment(contestant, {SAMPLES: str(path)})
    run = await run_once(given, sampling, replace(published, workload=scene.workload))
    return run, read_samples(json.loads(await asyncio.to_thread(path.read_text, encoding="utf-8")))


async def refold(given: Fixture, workload: Workload, rounds: int, found: Found, say: Say) -> None:
    """Several times, each in a database of its own."""
    published = await publish_workload(given, FEW, workload)
    documents = final_documents(given.folder, FEW, workload)
    measured = []
    for _ in range(rounds):
        measured.append(await measure_refold(given, published.topic, documents, workload.events))
        say(f"re-fold: {measured[-1].rate:,.0f} events/s")
    cpu = median(each.cpu_s * 1e6 / each.events for each in measured)
    found.measured["refold"] = Measured(
        figure([each.rate for each in measured]), f"the one worker computes {cpu:.0f} µs an event"
    )
    found.data["refold"] = {
        "events_per_s": [round(each.rate) for each in measured],
        "cpu_us_per_event": round(cpu, 1),
    }


async def growth(given: Fixture, sizes: Sequence[int], workload: Workload, found: Found, say: Say) -> None:
    """From the first size to the last, beside the limit in the same collections."""
    documents = final_documents(given.folder, FEW, workload)
    grown = await measure_growth(given, documents, sizes, workload.events, found.best_way, say)
    found.measured["growth"] = growth_measured(grown)
    found.data["growth"] = [
        {
            "stored_events": each.stored,
            "events_per_s": round(each.run.rate),
            "limit_events_per_s": round(each.limit.rate),
        }
        for each in grown
    ]
    rows = [
        (
            f"{each.stored:,}",
            shown(each.run.rate),
            shown(each.limit.rate),
            where_time_goes([each.run]),
            where_time_goes([each.limit]),
        )
        for each in grown
    ]
    columns = ("stored events", "ingest, events/s", "limit, events/s", "ingest", "limit")
    found.sections.append(Section("Ingest into a store that grows, and the limit beside it", columns, rows))


def growth_measured(grown: Sequence[Grown]) -> Measured:
    """What ingest keeps of its rate from the first size to the last, against what the limit keeps.

    Fatal where a run left something wrong: it has no rate.
    """
    if wrong := [run.wrong for each in grown for run in (each.run, each.limit) if run.wrong]:
        raise Fatal(f"something was left wrong: {wrong[0]}")
    first, last = grown[0], grown[-1]
    kept, limit_kept = last.run.rate / first.run.rate, last.limit.rate / first.limit.rate
    limits = f"ingest keeps {kept:.3g}, the limit {limit_kept:.3g}: {where_time_goes([last.run])}"
    return Measured(ratio([kept], [limit_kept]), limits)


async def scale(
    given: Fixture,
    partitions: Sequence[int],
    workers: Sequence[int],
    workload: Workload,
    found: Found,
    say: Say,
) -> None:
    """Efficiency is against one worker on the same partitions."""
    measured = await measure_scales(given, partitions, workers, workload, say)
    alone = {each.partitions: each.rate for each in measured if each.workers == 1}
    found.data["scale"] = [
        {
            "partitions": each.partitions,
            "workers": each.workers,
            "events_per_s": round(each.rate),
            "efficiency": round(each.rate / each.workers / alone[each.partitions], 2)
            if each.partitions in alone
            else None,
            "joining_s": round(each.joining_s, 1),
        }
        for each in measured
    ]
    columns = ("partitions", "workers", "events/s", "efficiency", "joining s")
    rows = [
        ["" if value is None else f"{value:,}" for value in each.values()] for each in found.data["scale"]
    ]
    note = "Workers, mongod and broker share this machine's cores: two workers cannot have two more."
    found.sections.append(Section("Scale-out of ingest", columns, rows, (note,)))
