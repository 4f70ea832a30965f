"""The parts of the benchmark besides the comparison: each gives goals, a table and its data, or says why not."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.comparison import EVERYTHING, OURS, TOPIC, Comparison, Say, where_time_goes
from bench.contestants.field import EVERYTHING as EVERYTHING_ON
from bench.contestants.field import INGEST, Contestant, with_environment
from bench.contestants.sampling import VARIABLE as SAMPLES
from bench.figures import figure, ratio, shown
from bench.fixture import Fixture
from bench.goals import Measured
from bench.growth import Grown, measure_growth, measure_learners
from bench.latency import latencies
from bench.race import run_once
from bench.records import Workload
from bench.refold import measure_refold
from bench.report import Section
from bench.scale import measure_scales
from bench.stages import by_function, by_stage, read_samples
from worker.errors import WorkerError

TOP_FUNCTIONS = 15
LATENCY_RATES = (100.0, 1_000.0)
SHARE_OF_MAXIMUM = 0.7
GOAL_RATE = 1_000.0


@dataclass
class Found:
    """What the parts have given so far; `missing` says by goal why there is nothing."""

    measured: dict[str, Measured] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    async def add(self, key: str, part: Callable[[], Awaitable[None]], say: Say) -> None:
        """Run a part; one that fails is reported, and the others are measured nevertheless."""
        try:
            await part()
        except WorkerError as error:
            self.missing[key] = f"failed: {str(error).splitlines()[0]}"
            say(f"{key} {self.missing[key]}")


async def latency(given: Fixture, comparison: Comparison, seconds: float, found: Found, say: Say) -> None:
    """At 100 and 1,000 events a second, and at 70 % of what everything together reached."""
    maximum = median(comparison.rates(EVERYTHING))
    rates = [*LATENCY_RATES, *([SHARE_OF_MAXIMUM * maximum] if maximum else [])]
    measured = await latencies(given, rates, seconds, say)
    found.data["latency"] = [each.as_json() for each in measured]
    at_goal = next(each for each in found.data["latency"] if each["rate_per_s"] == GOAL_RATE)
    calm = at_goal["p99_calm_ms"]
    of_calm = "no event met none" if calm is None else f"p99 of the events that met none is {calm} ms"
    limits = (
        f"{at_goal['reached_per_s']} of 1,000 events/s were published; p50 {at_goal['p50_ms']} ms. For "
        f"{at_goal['checkpoint_s']} s mongod wrote a checkpoint; {of_calm}. Of this machine's cores the worker uses "
        f"{at_goal['worker_cores']}, mongod {at_goal['mongod_cores']}, others the rest"
    )
    found.measured["latency"] = Measured(figure([at_goal["p99_ms"]]), limits)
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


async def cost(given: Fixture, comparison: Comparison, workload: Workload, found: Found) -> None:
    """CPU by stage and by function, from samples of one more run each; bytes on disk."""
    for contestant, name, key in ((INGEST, OURS, "ingest"), (EVERYTHING_ON, EVERYTHING, "everything")):
        path = given.folder / f"samples-{key}.json"
        samples = await _sampled(given, contestant, workload, path)
        cpu = median(run.cpu_s * 1e6 / run.events for run in comparison.of(name))
        stages = by_stage(samples, cpu)
        functions = by_function(samples, TOP_FUNCTIONS)
        stored = round(median(run.stored_bytes for run in comparison.of(name)))
        found.data[f"cost_{key}"] = {
            "cpu_us_per_event_by_stage": {stage: round(value, 1) for stage, value in stages},
            "functions": [
                {"name": name, "own": round(own, 4), "within": round(within, 4)}
                for name, own, within in functions
            ],
            "stored_bytes_per_event": stored,
        }
        found.sections.append(
            Section(
                f"Worker CPU by stage, {name}",
                ("stage", "µs an event"),
                [(stage, shown(value)) for stage, value in stages],
                (f"{sum(sample.count for sample in samples):,} samples share the median CPU of the rounds.",),
            )
        )
        found.sections.append(
            Section(
                f"Functions with most CPU of their own, {name}",
                ("function", "own", "with what it calls"),
                [(where, f"{own:.1%}", f"{within:.1%}") for where, own, within in functions],
            )
        )


async def _sampled(given: Fixture, contestant: Contestant, workload: Workload, path: Path) -> Sequence[Any]:
    await run_once(given, with_environment(contestant, {SAMPLES: str(path)}), TOPIC, workload)
    return read_samples(json.loads(await asyncio.to_thread(path.read_text, encoding="utf-8")))


async def refold(given: Fixture, events: int, rounds: int, found: Found, say: Say) -> None:
    """Several times, each in a database of its own."""
    measured = []
    for _ in range(rounds):
        measured.append(await measure_refold(given, TOPIC, given.folder / "final", events))
        say(f"re-fold: {measured[-1].rate:,.0f} events/s")
    cpu = median(each.cpu_s * 1e6 / each.events for each in measured)
    found.measured["refold"] = Measured(
        figure([each.rate for each in measured]), f"the one worker computes {cpu:.0f} µs an event"
    )
    found.data["refold"] = {
        "events_per_s": [round(each.rate) for each in measured],
        "cpu_us_per_event": round(cpu, 1),
    }


async def growth(given: Fixture, sizes: Sequence[int], events: int, found: Found, say: Say) -> None:
    """From the first size to the last."""
    grown = await measure_growth(given, given.folder / "final", sizes, events, say)
    found.measured["growth"] = growth_measured(grown)
    found.data["growth"] = [
        {"stored_events": each.stored, "events_per_s": round(each.run.rate)} for each in grown
    ]
    rows = [(f"{each.stored:,}", shown(each.run.rate), where_time_goes([each.run])) for each in grown]
    found.sections.append(
        Section("Ingest into a store that grows", ("stored events", "events/s", "time"), rows)
    )


def growth_measured(grown: Sequence[Grown]) -> Measured:
    """The last size against the first."""
    first, last = grown[0].run, grown[-1].run
    return Measured(ratio([last.rate], [first.rate]), where_time_goes([last]))


async def learners(given: Fixture, numbers: Sequence[int], events: int, found: Found, say: Say) -> None:
    measured = await measure_learners(given, numbers, events, say)
    found.data["learners"] = [
        {"learners": number, "events_per_s": round(run.rate)} for number, run in measured
    ]
    rows = [(f"{number:,}", shown(run.rate), where_time_goes([run])) for number, run in measured]
    found.sections.append(
        Section("Ingest of few and of many learners", ("learners", "events/s", "time"), rows)
    )


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
