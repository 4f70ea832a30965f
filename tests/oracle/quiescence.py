"""Invariant 9: at quiescence nothing waits: items completed, offsets at the end, no lag, consumed = all outcomes."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.oracle.case import Case
from tests.oracle.finding import miscounted
from tests.oracle.stored import Document

_PREFIX = "sevenp_worker_"
_CONSUMED = "kafka_records_consumed_total"
_PROCESSED = "events_processed_total"
# What is 0 when everything is read and nothing was ever dropped.
_ZERO_AT_QUIESCENCE = (
    "kafka_consumer_lag_records",
    "kafka_consumer_lag_seconds",
    "kafka_scalable_lag_records",
    "events_dropped_total",
)
# The worker's own items; others are the platform's. Those of contests are none that anybody has to do.
_OURS = ("progress_fold", "progress_updated", "counts_fold", "counts_row", "notification_send")
_STREAMS = ("billing", "promotions", "courses", "course_versions", "users", "lesson_content")
_BLOCKS = ("content_blocks", "content_relationships", "content_workflow", "revenue")
_ITEMS = frozenset({*_OURS, *(f"{name}_fold" for name in (*_STREAMS, *_BLOCKS))})
# Who asks for what, by the type of the item that names who does not get it (docs/projections.md, docs/content.md).
_CONTESTS: Mapping[str, tuple[str, ...]] = {
    "course_claims": ("slug",),
    "user_claims": ("email", "username"),
    "content_cycles": (),
}


def completed_items(case: Case) -> Iterator[str]:
    """Every item of the worker's is done, and nobody holds it."""
    for item in case.stored.queue:
        if item["event_type"] not in _ITEMS:
            continue
        if item["status"] != "completed":
            yield f"queue item {item['_id']} is {item['status']}"
        elif item.get("lease_owner") is not None:
            yield f"queue item {item['_id']} is completed and still held by {item['lease_owner']}"


def losers_named(case: Case) -> Iterator[str]:
    """Whatever does not get what it asks for is an open item, for as long as that lasts; nothing else is."""
    lost = Counter(
        f"{contest}:{document['_id']}"
        for contest, names in _CONTESTS.items()
        for document in _contending(case, contest)
        if _has_lost(document, names)
    )
    types = {f"{contest}_fold" for contest in _CONTESTS}
    found = Counter(
        item["_id"]
        for item in case.stored.queue
        if item["event_type"] in types and item["status"] != "completed"
    )
    yield from miscounted("queue item", lost, found)


def _contending(case: Case, contest: str) -> Sequence[Document]:
    if contest == "content_cycles":
        return case.stored.content("content_relationships")
    return case.stored.courses if contest == "course_claims" else case.stored.users


def _has_lost(document: Document, names: Sequence[str]) -> bool:
    """A document without claims is the platform's; one that closes a cycle says so."""
    claims = document.get("claims") or {}
    return document.get("effective") is False or any(
        name in claims and name not in document for name in names
    )


def committed_offsets(case: Case) -> Iterator[str]:
    """The group's next offset is the end of every partition; an empty one needs none."""
    log = case.evidence.log
    for (topic, partition), end in sorted(log.ends.items()) if log else ():
        committed = log.committed.get((topic, partition)) if log else None
        if (committed or 0) != end:
            yield f"partition {partition} of {topic} is committed at {committed} and ends at {end}"


def metrics_at_quiescence(case: Case) -> Iterator[str]:
    """Each worker counted an outcome for every record it consumed, drops nothing and lags behind nothing."""
    for name, text in (case.evidence.metrics or {}).items():
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        yield from _accounting(name, samples)
        for sample in samples:
            if sample.name.removeprefix(_PREFIX) in _ZERO_AT_QUIESCENCE and sample.value != 0:
                yield f"{name}: {sample.name} is {sample.value:g} at {dict(sample.labels)}"


def _accounting(name: str, samples: Sequence[Sample]) -> Iterator[str]:
    consumed: dict[str, float] = defaultdict(float)
    outcomes: dict[str, float] = defaultdict(float)
    for sample in samples:
        if sample.name == _PREFIX + _CONSUMED:
            consumed[sample.labels["topic"]] += sample.value
        elif sample.name == _PREFIX + _PROCESSED:
            outcomes[sample.labels["topic"]] += sample.value
    if not consumed:
        yield f"{name}: no metric says what was consumed"
    for topic in sorted(consumed.keys() | outcomes.keys()):
        if consumed[topic] != outcomes[topic]:
            yield f"{name}: {consumed[topic]:g} records consumed of {topic}, {outcomes[topic]:g} outcomes counted"
