"""How much waits, and for how long: the cluster's depths, exported by the one worker that holds the lease."""

from collections import Counter
from collections.abc import Collection as Types
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from worker.contract.rejection import RejectReason
from worker.retry.disk import Disk, disk_of
from worker.storage import reading
from worker.storage.claims import age_s
from worker.storage.database import Collection, Database, Document
from worker.storage.errors import translated
from worker.storage.outbox import UNSENT
from worker.storage.work_items import COUNTS_ROW, OPEN, UNDECIDED, fold_type
from worker.telemetry.labels import DEAD_LETTER_STEPS, DRIFT_PARTS, QUEUE_STATES, ROW_COLLECTIONS
from worker.telemetry.metrics import Metrics
from worker.timing import Clock

SCRUB = "scrub"
"""The name of the job whose runs tell what has drifted."""
REPLAY_JOBS = (
    "rebuild-progress",
    "rebuild-counts",
    "rebuild-time-series",
    "rebuild-notifications",
    "rebuild-into",
)
"""The jobs that make again what follows from events: what is left of their runs is shown."""

# So many runs are hardly ever under way at once.
_MOST_RUNS = 50


@dataclass(frozen=True, slots=True)
class Walk:
    """A walk of the scrubber, under way or over: which, and what it has found of each projection."""

    run: str
    found: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Depths:
    """Numbers of one time; ages are seconds by the server's time, 0 where nothing waits.

    `items` are by state, without those that only say who has lost a contest: these are `lost`, and wait for nobody.
    `replays` are streams done, and all that are to be done, of the rebuilds under way, by job. `checked_at_s` and
    `walk` are None before the first walk of the scrubber.
    """

    items: Mapping[str, int]
    oldest_item_s: float
    blocked_streams: int
    refused_rows: Mapping[str, int]
    dead_letters: Mapping[str, int]
    oldest_dead_letter_s: Mapping[str, float]
    redrives: Mapping[str, int]
    unsent: int
    oldest_unsent_s: float
    drift: Mapping[str, int] = field(default_factory=dict)
    checked_at_s: float | None = None
    walk: Walk | None = None
    replays: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    disk: Disk | None = None
    lost: int = 0


async def measure(database: Database, event_types: Types[str]) -> Depths:
    """Count, of the queue only items of these types: all others are somebody else's.

    Takes some 0.2 s with 100,000 items: for every few seconds, not for every turn.
    """
    queue, dead_letters, outbox = database.analytics_queue, database.dead_letters, database.notifications
    ours: Document = {"event_type": {"$in": sorted(event_types)}}
    # What has lost a contest waits for nobody: it may do so for ever, and is counted by itself.
    contests = sorted(fold_type(each.name) for each in database.catalogue.contests)
    undecided: Document = {"event_type": {"$in": contests}, "error_class": {"$in": sorted(UNDECIDED)}}
    others: Document = {"event_type": {"$in": sorted(set(event_types) - set(contests))}}
    lost = {"event_type": {"$in": contests}, "error_class": {"$nin": sorted(UNDECIDED)}}
    waiting: Document = {"$or": [others, undecided]}
    blocked = await reading.aggregate(
        queue,
        [
            {"$match": {**ours, "status": {"$in": list(OPEN)}, "stream_id": {"$gt": ""}}},
            {"$group": {"_id": "$stream_id"}},
            {"$count": "streams"},
        ],
    )
    refused_rows = {"status": {"$in": list(OPEN)}, "event_type": COUNTS_ROW}
    redriven = {"redrives": {"$gt": 0}, "error_class": {"$in": list(map(str, RejectReason))}}
    # Dead letters that nobody has sent again. Parts are bytes of a dead letter, not dead letters.
    by_step = {step: {"redrives": 0, "step": step} for step in DEAD_LETTER_STEPS}
    with translated():
        return Depths(
            items={
                state: await queue.count_documents({**waiting, "status": state}) for state in QUEUE_STATES
            },
            oldest_item_s=max(
                [await age_s(queue, {**of, "status": state}) for of in (others, undecided) for state in OPEN]
            ),
            lost=await queue.count_documents({**lost, "status": {"$in": list(OPEN)}}),
            blocked_streams=blocked.documents[0]["streams"] if blocked.documents else 0,
            refused_rows=await _sums(queue, refused_rows, "$data.collection", 1),
            dead_letters={step: await dead_letters.count_documents(of) for step, of in by_step.items()},
            oldest_dead_letter_s={step: await age_s(dead_letters, of) for step, of in by_step.items()},
            redrives=await _sums(dead_letters, redriven, "$error_class", "$redrives"),
            unsent=await outbox.count_documents(UNSENT),
            oldest_unsent_s=await age_s(outbox, UNSENT),
            drift=await _drift(database),
            checked_at_s=await _checked_at_s(database),
            walk=await _walk(database),
            replays=await _replays(database),
            disk=await disk_of(database),
        )


# ---- jobs ----


async def _drift(database: Database) -> dict[str, int]:
    """By part, what the last whole walk of the scrubber found, or the one under way, whichever is more.

    A walk that has only begun must not look as if everything were mended. Nothing before the first one.
    """
    found: Counter[str] = Counter()
    for which in ({}, {"status": "succeeded"}):
        found |= _numbers(await _newest_walk(database, which), "drift")
    return dict(found)


async def _checked_at_s(database: Database) -> float | None:
    run = await _newest_walk(database, {"status": "succeeded"})
    finished_at = run.get("finished_at")
    return finished_at.timestamp() if isinstance(finished_at, datetime) else None


async def _walk(database: Database) -> Walk | None:
    run = await _newest_walk(database, {})
    found = _numbers(run, "projections")
    return Walk(str(run["_id"]), {name: found[name] for name in database.catalogue.names}) if run else None


async def _newest_walk(database: Database, which: Document) -> Document:
    paths = {f"{part}.{of}": 1 for part in ("outcome", "checkpoint") for of in ("drift", "projections")}
    query = {"job": SCRUB, "dry_run": False, **which}
    newest = [("started_at", -1)]
    found = await reading.find(database.job_runs, query, {**paths, "finished_at": 1}, sort=newest, limit=1)
    return next(iter(found.documents), {})


def _numbers(run: Document, of: str) -> Counter[str]:
    """What stands in the report of a walk, whose checkpoint has it as far as it has come."""
    told = (run.get("outcome") or run.get("checkpoint") or {}).get(of) or {}
    return Counter({str(name): number for name, number in told.items() if isinstance(number, int)})


async def _replays(database: Database) -> dict[str, tuple[int, int]]:
    """Of each job the run under way that was started last, if somebody has counted what is to be done."""
    query = {"job": {"$in": list(REPLAY_JOBS)}, "status": "running", "dry_run": False}
    newest = [("started_at", -1)]
    paths = {"job": 1, "progress": 1}
    found = await reading.find(database.job_runs, query, paths, sort=newest, limit=_MOST_RUNS)
    replays: dict[str, tuple[int, int]] = {}
    for run in reversed(found.documents):
        match run.get("progress"):
            case {"done": int(done), "total": int(total)}:
                replays[run["job"]] = (done, total)
    return replays


async def _sums(collection: Collection, query: Document, by: str, summed: str | int) -> dict[str, int]:
    """The sums over the documents that match, by what they have in one field."""
    group = {"_id": by, "sum": {"$sum": summed}}
    found = await reading.aggregate(collection, [{"$match": query}, {"$group": group}])
    return {str(row["_id"]): row["sum"] for row in found.documents}


# ---- showing ----


class DepthGauges:
    """Shows depths while this worker holds the lease, and no gauges when it does not: another one shows them."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._redrives: Mapping[str, int] | None = None
        self._walk: Walk | None = None
        self._looked = False

    def show(self, depths: Depths) -> None:
        """Set the gauges; redrives and drift since the last look are counted.

        What was there before the first look is no news: a counter that begins with it looks like a burst.
        """
        self._set(depths)
        self._count(depths)
        self._metrics.depths_updated_timestamp_seconds.set(self._clock.now().timestamp())
        self._redrives, self._walk, self._looked = depths.redrives, depths.walk, True

    def hide(self) -> None:
        """Show nothing: what is not known here has no gauge. May be called twice."""
        metrics = self._metrics
        for labelled in (
            metrics.retry_queue_events,
            metrics.refused_rows,
            metrics.dead_letter_events,
            metrics.dead_letter_oldest_age_seconds,
            metrics.drift_findings,
            metrics.replay_progress_ratio,
            metrics.replay_remaining_streams,
        ):
            labelled.clear()
        for alone in (
            metrics.retry_oldest_age_seconds,
            metrics.retry_blocked_streams,
            metrics.outbox_pending_events,
            metrics.outbox_oldest_age_seconds,
            metrics.drift_checked_timestamp_seconds,
            metrics.depths_updated_timestamp_seconds,
            metrics.mongodb_disk_used_bytes,
            metrics.mongodb_disk_size_bytes,
        ):
            alone.forget()
        self._redrives, self._walk, self._looked = None, None, False

    def _count(self, depths: Depths) -> None:
        metrics = self._metrics
        before = depths.redrives if self._redrives is None else self._redrives
        news = [max(0, count - before.get(name, 0)) for name, count in depths.redrives.items()]
        metrics.dead_letter_redrives_total.inc(sum(news))
        walk = depths.walk
        if walk is None or not self._looked:
            return
        known = self._walk.found if self._walk is not None and self._walk.run == walk.run else {}
        for projection, count in walk.found.items():
            found = max(0, count - known.get(projection, 0))
            metrics.projection_drift_documents_total.labels(projection).inc(found)

    def _set(self, depths: Depths) -> None:
        metrics = self._metrics
        for state in QUEUE_STATES:
            metrics.retry_queue_events.labels(state).set(depths.items.get(state, 0))
        metrics.retry_oldest_age_seconds.set(depths.oldest_item_s)
        metrics.retry_blocked_streams.set(depths.blocked_streams)
        for collection in ROW_COLLECTIONS:
            metrics.refused_rows.labels(collection).set(depths.refused_rows.get(collection, 0))
        for step in DEAD_LETTER_STEPS:
            metrics.dead_letter_events.labels(step).set(depths.dead_letters.get(step, 0))
            oldest_s = depths.oldest_dead_letter_s.get(step, 0.0)
            metrics.dead_letter_oldest_age_seconds.labels(step).set(oldest_s)
        if depths.disk is not None:
            metrics.mongodb_disk_used_bytes.set(depths.disk.used_bytes)
            metrics.mongodb_disk_size_bytes.set(depths.disk.size_bytes)
        metrics.outbox_pending_events.set(depths.unsent)
        metrics.outbox_oldest_age_seconds.set(depths.oldest_unsent_s)
        self._set_jobs(depths)

    def _set_jobs(self, depths: Depths) -> None:
        metrics = self._metrics
        if depths.walk is not None:
            for part in DRIFT_PARTS:
                metrics.drift_findings.labels(part).set(depths.drift.get(part, 0))
        if depths.checked_at_s is not None:
            metrics.drift_checked_timestamp_seconds.set(depths.checked_at_s)
        for job in REPLAY_JOBS:
            if job not in depths.replays:
                metrics.replay_progress_ratio.remove_by_labels({"job": job})
                metrics.replay_remaining_streams.remove_by_labels({"job": job})
        for job, (done, total) in depths.replays.items():
            metrics.replay_progress_ratio.labels(job).set(min(1.0, done / total) if total else 1.0)
            metrics.replay_remaining_streams.labels(job).set(max(0, total - done))
