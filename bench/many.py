"""Few and many learners: all roles, the specification's own loop, and ingest alone, on the same records each.

`python -m bench --only many --events 12000` prints this table alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from bench.contestants.field import EVERYTHING, INGEST, SPEC, Contestant, Stage
from bench.figures import figure, ratio, shown
from bench.fixture import Fixture, publish_workload
from bench.goals import Measured
from bench.race import Run, described, run_once, where_time_goes
from bench.records import AnyWorkload, ManyLearners, Workload
from bench.report import Say, Section

FIELD: Sequence[Contestant] = (EVERYTHING, SPEC, INGEST)
FEW = "few"
STAGES: Mapping[Stage, str] = {
    "events": "events",
    "rows": "time series",
    "records": "records",
    "counts": "counts",
    "outbox": "outbox",
}
_NO_STAGE = ""
_NOTES = (
    "All records are in Kafka before; time runs from the first fetch until everything is stored, counted and sent.",
    "A stage's rate: all events by the time of its last write. µs: CPU an event; the worker's with its Kafka client.",
    "Complete: counted in full after each run, and equal to the sums of what was published.",
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A workload under its name; scenes on the same `topic` have the same records."""

    name: str
    topic: str
    workload: AnyWorkload

    @property
    def title(self) -> str:
        """As people read it."""
        stand = "documents present" if self.workload.present else "no documents"
        return f"{self.workload.learners:,} learners, {stand}"


def scenes(few: int, many: int) -> Sequence[Scene]:
    """So many events of the few learners who take turns, and of the many: without and with their documents."""
    learners = ManyLearners(many)
    return (
        Scene(FEW, FEW, Workload(few, present=True)),
        Scene("many", "many", learners),
        Scene("many_present", "many", replace(learners, present=True)),
    )


@dataclass(frozen=True, slots=True)
class ManyRuns:
    """All runs in their order, each with its scene."""

    scenes: Sequence[Scene]
    runs: Sequence[tuple[Scene, Run]]

    def of(self, scene: str, contestant: Contestant) -> list[Run]:
        """One contestant's runs in one scene, a round each."""
        return [run for at, run in self.runs if at.name == scene and run.contestant == contestant.name]

    @property
    def maximum(self) -> float:
        """What all roles reach with few learners: the latency is measured at a share of it."""
        return median(run.rate for run in self.of(FEW, EVERYTHING))


async def measure_many(given: Fixture, taken: Sequence[Scene], rounds: int, say: Say) -> ManyRuns:
    """Interleaved rounds: every contestant in every scene, then again."""
    runs = []
    for _ in range(rounds):
        for scene in taken:
            published = await publish_workload(given, scene.topic, scene.workload)
            published = replace(published, workload=scene.workload)
            for contestant in FIELD:
                run = await run_once(given, contestant, published)
                runs.append((scene, run))
                say(f"{scene.title}: {described(run)}")
    return ManyRuns(taken, runs)


# Goal, the scene, and whose rate that of all roles is divided by.
AGAINST: Mapping[str, tuple[str, Contestant]] = {
    "many_spec": ("many", SPEC),
    "many_present_spec": ("many_present", SPEC),
    "many_ingest": ("many", INGEST),
    "many_present_ingest": ("many_present", INGEST),
    "everything": (FEW, INGEST),
}
GOALS = (*AGAINST, "ingest_cpu", "projected_cpu", "memory")


def many_goals(found: ManyRuns) -> tuple[dict[str, Measured], dict[str, str]]:
    """What the rounds say of the goals, and why the others are open."""
    measured: dict[str, Measured] = {}
    missing: dict[str, str] = {}
    for key, (scene, other) in AGAINST.items():
        ours, theirs = found.of(scene, EVERYTHING), found.of(scene, other)
        if wrong := _wrong(ours, theirs):
            missing[key] = wrong
            continue
        rates = ratio([run.rate for run in ours], [run.rate for run in theirs])
        measured[key] = Measured(rates, f"{where_time_goes(ours)}; {_last_stage(ours)}")
    alone, everything = found.of(FEW, INGEST), found.of(FEW, EVERYTHING)
    peak = [run.peak_bytes / 2**20 for _, run in found.runs if run.contestant == EVERYTHING.name]
    measured["memory"] = Measured(figure([max(peak)]), "peak resident memory, interpreter included")
    if wrong := _wrong(alone, everything):
        return measured, missing | dict.fromkeys(("ingest_cpu", "projected_cpu"), wrong)
    cpu = [run.us_per_event(run.cpu_s) for run in alone]
    measured["ingest_cpu"] = Measured(figure(cpu), where_time_goes(alone))
    pairs = zip(everything, alone, strict=True)
    more = [both.us_per_event(both.cpu_s) - one.us_per_event(one.cpu_s) for both, one in pairs]
    measured["projected_cpu"] = Measured(figure(more), "CPU with all roles, less that of ingest alone")
    return measured, missing


def _wrong(*contestants: Sequence[Run]) -> str:
    """What one of them left undone, if any did."""
    wrong = next((run for runs in contestants for run in runs if run.wrong), None)
    return "" if wrong is None else f"{wrong.contestant} left something wrong: {wrong.wrong}"


def _last_stage(runs: Sequence[Run]) -> str:
    """Which stage was done last, and how far behind the event store."""
    ends = {stage: median(run.stages[stage] for run in runs) for stage in runs[0].stages}
    last = max(ends, key=lambda stage: ends[stage])
    return f"{STAGES[last]} done {ends[last]:.1f} s after the first fetch, events {ends['events']:.1f} s"


def many_section(found: ManyRuns, rounds: int) -> Section:
    """One row a scene and contestant: the rate until everything is done, that of each stage, and who computes."""
    columns = (
        "learners",
        "contestant",
        "events/s",
        *STAGES.values(),
        "worker µs",
        "mongod µs",
        "broker µs",
        "peak MiB",
        "of the spec's loop",
        "of ingest",
        "complete",
    )
    rows = [
        _cells(found, scene, contestant)
        for scene in found.scenes
        for contestant in FIELD
        if found.of(scene.name, contestant)
    ]
    return Section(f"Few and many learners, medians of {rounds} interleaved rounds", columns, rows, _NOTES)


def _cells(found: ManyRuns, scene: Scene, contestant: Contestant) -> list[str]:
    runs = found.of(scene.name, contestant)
    rates = figure([run.rate for run in runs])
    cpu = [
        shown(median(run.us_per_event(getattr(run, name)) for run in runs))
        for name in ("cpu_s", "mongod_cpu_s", "broker_cpu_s")
    ]
    wrong = next((run.wrong for run in runs if run.wrong), "")
    return [
        scene.title,
        contestant.name,
        f"{shown(rates.median)} ({rates.spread})",
        *(_stage_rate(runs, stage) for stage in STAGES),
        *cpu,
        shown(max(run.peak_bytes for run in runs) / 2**20),
        _share(runs, found.of(scene.name, SPEC)),
        _share(runs, found.of(scene.name, INGEST)),
        f"NO: {wrong}" if wrong else "yes",
    ]


def _stage_rate(runs: Sequence[Run], stage: Stage) -> str:
    if any(stage not in run.stages for run in runs):
        return _NO_STAGE
    return shown(median(run.events / run.stages[stage] for run in runs))


def _share(runs: Sequence[Run], others: Sequence[Run]) -> str:
    """Of the medians, as the goals are; empty where a run has no rate, or is divided by itself."""
    mine, theirs = [run.rate for run in runs], [run.rate for run in others]
    if not theirs or mine == theirs or not all((*mine, *theirs)):
        return ""
    return shown(ratio(mine, theirs).median)


def many_json(found: ManyRuns) -> list[dict[str, Any]]:
    """One object a scene and contestant, a value a round."""
    return [
        {
            "scene": scene.name,
            "learners": scene.workload.learners,
            "documents_present": scene.workload.present,
            "events": scene.workload.events,
            "name": contestant.name,
            "events_per_s": [round(run.rate) for run in runs],
            "seconds_by_stage": [{stage: round(at, 3) for stage, at in run.stages.items()} for run in runs],
            "cpu_us_per_event": [round(run.us_per_event(run.cpu_s), 1) for run in runs],
            "mongod_cpu_us_per_event": [round(run.us_per_event(run.mongod_cpu_s), 1) for run in runs],
            "broker_cpu_us_per_event": [round(run.us_per_event(run.broker_cpu_s), 1) for run in runs],
            "peak_mib": [round(run.peak_bytes / 2**20) for run in runs],
            "wrong": [run.wrong for run in runs if run.wrong],
        }
        for scene in found.scenes
        for contestant in FIELD
        if (runs := found.of(scene.name, contestant))
    ]
