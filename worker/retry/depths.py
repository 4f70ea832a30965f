"""How much waits, and for how long: the cluster's depths, exported by the one worker that holds the lease."""

from collections import Counter
from collections.abc import Collection as Types
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from worker.storage import reading
from worker.storage.claims import age_s
from worker.storage.database import Collection, Database, Document
from worker.storage.errors import translated
from worker.storage.work_items import COUNTS_ROW, OPEN
from worker.telemetry.metrics import DEAD_LETTER_STEPS, DRIFT_PARTS, QUEUE_STATES, ROW_COLLECTIONS, Metrics

SCRUB = "scrub"
"""The name of the job whose runs tell what has drifted."""


@dataclass(frozen=True, slots=True)
class Depths:
    """Numbers of one time; ages are seconds by the server's time, 0 where nothing waits."""

    items: Mapping[str, int]
    oldest_item_s: float
    blocked_streams: int
    refused_rows: Mapping[str, int]
    dead_letters: Mapping[str, int]
    oldest_dead_letter_s: Mapping[str, float]
    redrives: Mapping[str, int]
    drift: Mapping[str, int] = field(default_factory=dict)
    checked_at_s: float = 0.0


async def measure(database: Database, event_types: Types[str]) -> Depths:
    """Count, of the queue only items of these types: all others are somebody else's.

    Takes some 0.2 s with 100,000 items: for every few seconds, not for every turn.
    """
    queue, dead_letters = database.analytics_queue, database.dead_letters
    ours: Document = {"event_type": {"$in": sorted(event_types)}}
    blocked = await reading.aggregate(
        queue,
        [
            {"$match": {**ours, "status": {"$in": list(OPEN)}, "stream_id": {"$gt": ""}}},
            {"$group": {"_id": "$stream_id"}},
            {"$count": "streams"},
        ],
    )
    refused_rows = {"status": {"$in": list(OPEN)}, "event_type": COUNTS_ROW}
    # Dead letters that nobody has sent again. Parts are bytes of a dead letter, not dead letters.
    by_step = {step: {"redrives": 0, "step": step} for step in DEAD_LETTER_STEPS}
    with translated():
        return Depths(
            items={state: await queue.count_documents({**ours, "status": state}) for state in QUEUE_STATES},
            oldest_item_s=max([await age_s(queue, {**ours, "status": state}) for state in OPEN]),
            blocked_streams=blocked.documents[0]["streams"] if blocked.documents else 0,
            refused_rows=await _sums(queue, refused_rows, "$data.collection", 1),
            dead_letters={step: await dead_letters.count_documents(of) for step, of in by_step.items()},
            oldest_dead_letter_s={step: await age_s(dead_letters, of) for step, of in by_step.items()},
            redrives=await _sums(dead_letters, {"redrives": {"$gt": 0}}, "$error_class", "$redrives"),
            drift=await _drift(database),
            checked_at_s=await _checked_at_s(database),
        )


async def _drift(database: Database) -> dict[str, int]:
    """By part, what the last whole walk of the scrubber found, or the one under way, whichever is more.

    A walk that has only begun must not look as if everything were mended. Nothing before the first one.
    """
    found: Counter[str] = Counter()
    for which in ({}, {"status": "succeeded"}):
        run = await _newest_walk(database, which)
        told = (run.get("outcome") or run.get("checkpoint") or {}).get("drift") or {}
        found |= Counter({str(part): number for part, number in told.items() if isinstance(number, int)})
    return dict(found)


async def _checked_at_s(database: Database) -> float:
    run = await _newest_walk(database, {"status": "succeeded"})
    finished_at = run.get("finished_at")
    return finished_at.timestamp() if isinstance(finished_at, datetime) else 0.0


async def _newest_walk(database: Database, which: Document) -> Document:
    paths = {"outcome.drift": 1, "checkpoint.drift": 1, "finished_at": 1}
    query = {"job": SCRUB, "dry_run": False, **which}
    found = await reading.find(database.job_runs, query, paths, sort=[("started_at", -1)], limit=1)
    return next(iter(found.documents), {})


async def _sums(collection: Collection, query: Document, by: str, summed: str | int) -> dict[str, int]:
    """The sums over the documents that match, by what they have in one field."""
    group = {"_id": by, "sum": {"$sum": summed}}
    found = await reading.aggregate(collection, [{"$match": query}, {"$group": group}])
    return {str(row["_id"]): row["sum"] for row in found.documents}


_NOTHING = Depths({}, 0.0, 0, {}, {}, {}, {})


class DepthGauges:
    """Shows depths while this worker holds the lease, and zeros when it does not: another one shows them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._redrives: Mapping[str, int] | None = None

    def show(self, depths: Depths) -> None:
        """Set the gauges; redrives since the last look are counted.

        What was redriven before the first look is no news: a counter that begins with it looks like a burst.
        """
        self._set(depths)
        before = depths.redrives if self._redrives is None else self._redrives
        for name, count in depths.redrives.items():
            news = max(0, count - before.get(name, 0))
            self._metrics.dead_letter_redrives_total.labels(name).inc(news)
        self._redrives = depths.redrives

    def hide(self) -> None:
        """Show that nothing is known here."""
        self._set(_NOTHING)
        self._redrives = None

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
        for part in DRIFT_PARTS:
            metrics.drift_findings.labels(part).set(depths.drift.get(part, 0))
        metrics.drift_checked_timestamp_seconds.set(depths.checked_at_s)
