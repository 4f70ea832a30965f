"""Counts each record of a durable batch under exactly one outcome; one that has none was dropped: a defect."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog

from worker.contract.rejection import RejectReason
from worker.ingest.record import BatchOutcome, Stored
from worker.kafka.record import Batch, Record
from worker.telemetry.labels import DropReason, Outcome
from worker.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

# Of records that were dropped: enough to find them in Kafka.
_SHOWN_POSITIONS = 20
# A sum that has taken in one absurd value says nothing any more; the last bucket is a week.
_LONGEST_LATENESS_S = 366 * 86_400.0


def count_outcome(
    metrics: Metrics, batch: Batch, outcome: BatchOutcome, newest: datetime
) -> Mapping[Outcome, int]:
    """Count the batch's records, its dead letters by reason, and how late its events came: how many of each outcome.

    A record's own time is believed up to `newest`.
    """
    conflicts = [each for each in outcome.dead_letters if each.rejected.reason is RejectReason.CONFLICT]
    dead = [each for each in outcome.dead_letters if each.rejected.reason is not RejectReason.CONFLICT]
    by_outcome: list[tuple[Outcome, Sequence[Record]]] = [
        (Outcome.STORED, [each.record for each in outcome.stored]),
        (Outcome.REDELIVERED, [each.record for each in outcome.redelivered]),
        (Outcome.DUPLICATE, [each.record for each in outcome.duplicates]),
        (Outcome.CONFLICT, [each.record for each in conflicts]),
        (Outcome.DEAD_LETTERED, [each.record for each in dead]),
        (Outcome.SKIPPED, [*outcome.tombstones, *(each.record for each in outcome.erased)]),
    ]
    for name, records in by_outcome:
        for topic, number in Counter(record.source.topic for record in records).items():
            metrics.events_processed_total.labels(topic, name.value).inc(number)
    dropped = _without_outcome([*batch.records, *outcome.further], [records for _, records in by_outcome])
    if dropped:
        metrics.events_dropped_total.labels(DropReason.UNEXPECTED.value).inc(len(dropped))
        log.error("records_dropped", records=len(dropped), first=dropped[:_SHOWN_POSITIONS])
    for dead_letter in outcome.dead_letters:
        metrics.dead_lettered_events_total.labels(dead_letter.rejected.reason.value).inc()
    for stored in outcome.stored:
        lateness_s = _lateness_s(stored, newest)
        if lateness_s is not None:
            metrics.event_lateness_seconds.observe(lateness_s)
    return {name: len(records) for name, records in by_outcome}


def _without_outcome(records: Sequence[Record], outcomes: Sequence[Sequence[Record]]) -> list[str]:
    """Positions of the records that have no outcome: a defect has dropped them."""
    if sum(map(len, outcomes)) == len(records):
        return []
    seen = {record.source for some in outcomes for record in some}
    return [
        f"{source.topic}:{source.partition}:{source.offset}"
        for source in (record.source for record in records)
        if source not in seen
    ]


def _lateness_s(stored: Stored, newest: datetime) -> float | None:
    """From what happened to its record in Kafka; None where the record's time is none, or lies ahead of `newest`."""
    timestamp = stored.record.timestamp
    if timestamp is None or timestamp > newest:
        return None
    lateness_s: float = (timestamp - stored.document["occurred_at"]).total_seconds()
    return min(max(0.0, lateness_s), _LONGEST_LATENESS_S)
