"""A right run, made with the worker's own functions: two implementations agree, or the oracle says where not."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import orjson
from bson import ObjectId
from prometheus_client import generate_latest

from projections.billing import BILLING
from projections.content.versions.fold import named
from projections.content.versions.projection import COURSE_VERSIONS
from projections.counts import (
    LEARNING,
    TEACHING,
    ActivityEntry,
    Counted,
    Taught,
    Teaching,
    count_learner,
    course_stats,
    merged_log,
    social_proof,
    user_stats,
    vector,
)
from projections.event import StoredEvent
from projections.kinds import By
from projections.progress import fold
from tests.oracle import Delivery, Entry, LogRecord
from tests.oracle.seeded.run import CANARY, PARTITIONS, TOPIC, Run
from tests.support.courses import STREAM, golden_versions
from tests.support.jobs import job_run
from tests.unit.projections.test_versions import made
from worker.contract.codec import decode_event, encode, record_key
from worker.contract.enrolment_payments import names_payment, payment_event
from worker.contract.event import Event
from worker.contract.families import FAMILIES
from worker.contract.family import EventTypes
from worker.contract.identity import stream_object_id, stream_slot
from worker.contract.rejection import Rejected, RejectReason
from worker.contract.source import Source
from worker.contract.trace_context import trace_of
from worker.devstack.simulator.platform_documents import Timing
from worker.devstack.simulator.simulation import Simulation, simulate
from worker.ingest.dead_letters import dead_letter_documents
from worker.ingest.record import DeadLetter
from worker.kafka.record import Record
from worker.notify.message import message_of
from worker.storage.database import Document
from worker.storage.documents import event_document, interaction_row, void_document
from worker.storage.outbox import notification_row
from worker.telemetry.labels import Outcome
from worker.telemetry.metrics import Metrics

NOW = datetime(2026, 1, 1, tzinfo=UTC)
_TYPES = EventTypes(FAMILIES)
_POISON: Mapping[bytes, str] = {
    b'{"event_id": ': "not_json",
    b"\xff\xfe": "not_utf8",
    encode({"event_type": f"unheard of: {CANARY}"}): "unknown_event_type",
}


def right_run(records: int = 300, seed: int = 7) -> Run:
    """A few hundred simulated records, some poison, and all that follows; voids and a replay among it."""
    simulation = simulate(seed, records)
    run, ingest = Run(), _Ingest()
    for value in [*_values(simulation), *_course(), *_POISON]:
        ingest.take(run, value)
    run.committed = {(TOPIC, partition): run.ends[TOPIC, partition] for partition in range(PARTITIONS)}
    # A hole was met while later events were there already.
    target = run.events[0]["stream_id"]
    first, *others = run.stream(target)
    for event in others:
        event["version"] += 1
    run.events.append(void_document(target, first["version"] + 1, NOW))
    run.courses = [dict(each) for each in _platform(simulation, "courses")]
    run.users = [dict(each) for each in _platform(simulation, "users")]
    run.queue = [_completed_item(target)]
    run.jobs = [_job()]
    run.metrics = _metrics(ingest.outcomes, run)
    run.worker_log = '{"event":"started"}\n{"event":"dead_letter","reason":"not_json","level":"warning"}\n'
    derive(run)
    return run


def derive(run: Run) -> None:
    """Everything that follows from the events as they are: rows, records, counts, outbox, billing, deliveries."""
    run.rows = [
        interaction_row(event)
        for event in run.events
        if "_user_" in event["stream_id"] and event["event_type"] != "void"
    ]
    run.progress = list(_folded(run))
    steps = [count_learner(record, None) for record in run.progress]
    run.projections = [step.projection for step in steps if step is not None]
    run.billing = list(_billing(run.events))
    _count(run)
    run.notifications = [row for record in run.progress for row in _notifications(record)]
    run.received = [_delivery(row) for row in run.notifications if row["status"] == "sent"]
    _versions(run)


def delivery(row: Document) -> Delivery:
    """What a receiver sees of a row."""
    return _delivery(row)


class _Ingest:
    """Places each record in the log and gives it its outcome."""

    def __init__(self) -> None:
        self.versions: Counter[str] = Counter()
        self.offsets: Counter[int] = Counter()
        self.known: dict[UUID, bytes] = {}
        self.outcomes: Counter[Outcome] = Counter()

    def take(self, run: Run, value: bytes) -> None:
        decoded = decode_event(value, timestamp=NOW, types=_TYPES)
        partition = stream_slot(decoded.stream_id) % PARTITIONS if isinstance(decoded, Event) else 0
        source = Source(TOPIC, partition, self.offsets[partition])
        self.offsets[partition] += 1
        # Every third record belongs to a trace, every sixth to one that is none.
        parent = f"00-{source.offset + 1:032x}-{partition + 1:016x}-01" if source.offset % 6 else "none"
        headers = (("traceparent", parent.encode()),) if source.offset % 3 == 0 else ()
        record = Record(source, NOW, record_key(value), value, headers)
        run.log.append(LogRecord(TOPIC, partition, source.offset, record.key, value, headers))
        if isinstance(decoded, Rejected):
            run.ledger.append(Entry(None, None, "poison", value, reason=_POISON[value]))
            run.dead_letters.extend(dead_letter_documents(DeadLetter(record, decoded), NOW))
            self.outcomes[Outcome.DEAD_LETTERED] += 1
        else:
            self._decoded(run, record, decoded)

    def _pay(self, run: Run, record: Record, enrolment: Document) -> None:
        """The payment that it names, if it is an enrolment that does."""
        if not names_payment(enrolment):
            return
        event = payment_event(enrolment)
        assert isinstance(event, Event)
        self.versions[event.stream_id] += 1
        source = record.source._replace(place=1)
        run.events.append(event_document(event, self.versions[event.stream_id], source, NOW, None))

    def _decoded(self, run: Run, record: Record, event: Event) -> None:
        value = record.value or b""
        before = self.known.get(event.event_id)
        if before is None:
            self.known[event.event_id] = value
            self.versions[event.stream_id] += 1
            version = self.versions[event.stream_id]
            trace = trace_of(record.headers) if isinstance(record.headers, tuple) else None
            document = event_document(event, version, record.source, NOW, None, trace=trace)
            run.events.append(document)
            self._pay(run, record, document)
            run.ledger.append(Entry(event.event_id, event.stream_id, "ok", value))
            self.outcomes[Outcome.STORED] += 1
        elif before == value:
            run.ledger.append(Entry(event.event_id, event.stream_id, "duplicate", value))
            self.outcomes[Outcome.DUPLICATE] += 1
        else:
            conflict = Rejected(RejectReason.CONFLICT, "another event has this id")
            run.ledger.append(Entry(event.event_id, event.stream_id, "conflict", value, reason="conflict"))
            run.dead_letters.extend(dead_letter_documents(DeadLetter(record, conflict, event.event_id), NOW))
            self.outcomes[Outcome.CONFLICT] += 1


def _values(simulation: Simulation) -> Iterator[bytes]:
    """The simulated records, two contradictions, and what simulated learners do not do."""
    values = [record.value for record in simulation.records if record.value is not None]
    yield from values
    for value in values[:2]:
        yield encode({**orjson.loads(value), "occurred_at": "2025-08-01T00:00:00+00:00"})
    enrolment = next(each for each in map(orjson.loads, values) if "payment" in each.get("details", {}))
    names = ("user_id", "course_id")
    learner = {**{name: enrolment[name] for name in names}, "session_id": "late", "ip_address": "2001:DB8::1"}
    lesson = {**learner, "lesson_id": "65a1f0c2e4b0a1b2c3d4e5f6"}
    further: Sequence[dict[str, Any]] = (
        # The same transaction again, a grown course, and a learner who leaves and returns.
        {**enrolment, "details": {**enrolment["details"], "total_lessons": 40}},
        {**learner, "event_type": "course_unenrolled"},
        {**learner, "event_type": "progress_updated", "details": _report(99.999)},
        {**learner, "event_type": "progress_updated", "details": _report(100)},
        {**lesson, "event_type": "lesson_note_saved", "details": {"text": CANARY}},
        {**lesson, "event_type": "view", "value": 1, "details": {"progress": 1, "time_spent": 0.0005}},
        {**learner, "event_type": "course_rated", "value": 3.5},
        {**learner, "event_type": "certificate_issued", "details": _certificate("2030-01-01t00:00:00.1239z")},
        {**learner, "event_type": "certificate_issued", "details": _certificate("2031-01-01T00:00:00+02:00")},
    )
    for number, fields in enumerate(further, start=1):
        moment = datetime(2025, 12, 1, tzinfo=UTC) + timedelta(hours=number)
        yield encode({**fields, "event_id": str(UUID(int=number)), "occurred_at": moment.isoformat()})


def _course() -> Iterator[bytes]:
    """What happens to a course that nobody takes."""
    for number, fields in enumerate(golden_versions(), start=1_000):
        yield encode({**fields, "event_id": str(UUID(int=number))})


def _report(percent: float) -> dict[str, Any]:
    return {"new_progress": percent, "old_progress": 0, "time_spent": 1.0005}


def _certificate(valid_until: str) -> dict[str, Any]:
    url = "https://example.org/certificates/again"
    return {
        "certificate_url": url,
        "verification_code": "again",
        "type": "honours",
        "valid_until": valid_until,
    }


def _platform(simulation: Simulation, collection: str) -> Iterator[Document]:
    for each in simulation.documents(Timing.BEFORE, Timing.AFTER):
        if each.collection == collection:
            yield each.document


def _folded(run: Run) -> Iterator[Document]:
    """The last learner of all was folded by a replay."""
    ordered = sorted(run.events, key=lambda event: (event["stream_id"], event["version"]))
    grouped = groupby(ordered, key=lambda event: event["stream_id"])
    streams = {stream: list(own) for stream, own in grouped if "_user_" in stream}
    for stream, own in streams.items():
        by: By = "replay" if stream == max(streams) else "live"
        folded = fold(None, [StoredEvent.from_document(event) for event in own], by)
        yield {"_id": stream_object_id(stream), "rev": 3, **folded}


def _count(run: Run) -> None:
    """Bring the platform's documents to what the records add up to."""
    courses: dict[ObjectId, Counted] = defaultdict(Counted)
    users: dict[ObjectId, Counted] = defaultdict(Counted)
    enrolments: dict[ObjectId, list[ActivityEntry]] = defaultdict(list)
    for record in run.progress:
        courses[record["course_id"]] += vector(record)
        users[record["user_id"]] += vector(record).only(LEARNING)
        if record["enrollment_date"] is not None:
            entry = ActivityEntry(record["course_id"], record["enrollment_date"])
            enrolments[record["user_id"]].append(entry)
    teaching: dict[ObjectId, Counted] = defaultdict(Counted)
    own: dict[ObjectId, list[ObjectId]] = defaultdict(list)
    for course in run.courses:
        own[course["instructor_id"]].append(course["_id"])
        if course["_id"] in courses:
            course["stats"] = {**course.get("stats", {}), **course_stats(courses[course["_id"]])}
            teaching[course["instructor_id"]] += courses[course["_id"]].only(TEACHING)
    run.content["instructor_statistics"] = [
        {"_id": each, **_teaching(run, own[each], counted).document()} for each, counted in teaching.items()
    ]
    run.content["course_revenue"] = [
        {"_id": each, "revenue": dict(_paid(run, [each]))}
        for each in {row["course_id"] for row in run.billing}
    ]
    for course in run.courses:
        instructor = course["instructor_id"]
        if instructor in teaching:
            proof = social_proof(_teaching(run, own[instructor], teaching[instructor]))
            course["instructor"] = {**course["instructor"], "social_proof": proof}
    for user in run.users:
        learning, counted = users.get(user["_id"]), teaching.get(user["_id"])
        if learning is not None or counted is not None:
            taught = None if user["_id"] not in own else _teaching(run, own[user["_id"]], counted)
            stats = user_stats(learning or Counted(), taught)
            user["stats"] = {**user.get("stats", {}), **stats}
            user["activity_log"] = merged_log(None, enrolments[user["_id"]])


def _versions(run: Run) -> None:
    """The one course whose events are there: its history, and each of its versions."""
    events = [StoredEvent.from_document(event) for event in run.stream(STREAM)]
    history = COURSE_VERSIONS.refold(events, None, "live")
    made_by = named(history)
    place = {name: history[name] for name in ("stream_id", "slot", "projection_version")}
    run.version_histories = [{"_id": history["entity_id"], "rev": 1, **history}]
    run.course_versions = [
        {**part, **place, "rev": 1, "event_version": made_by[part["_id"]]}
        for part in made(history, events).values()
    ]


def _teaching(run: Run, courses: Sequence[ObjectId], counted: Counted | None) -> Teaching:
    students = {record["user_id"] for record in run.progress if record["course_id"] in courses}
    sums = counted or Counted()
    taught = Taught(sums.enrolled, sums.rated, sums.rating, len(students), len(courses))
    return Teaching(taught, _paid(run, courses))


def _paid(run: Run, courses: Sequence[ObjectId]) -> Counter[str]:
    paid: Counter[str] = Counter()
    for row in run.billing:
        if row["course_id"] in courses:
            paid[row["currency"]] += int(row["amount"].to_decimal() * 10_000)
    return paid


def _notifications(record: Document) -> Iterator[Document]:
    step = count_learner(record, None)
    for milestone in step.milestones if step else ():
        row = notification_row(
            milestone.kind,
            record["stream_id"],
            record["user_id"],
            record["course_id"],
            by=milestone.by,
            data={"percentage": milestone.percentage, "reached_at": milestone.at},
            now=NOW,
        )
        sent = {"status": "sent", "sent_at": NOW, "channel": "webhook", "attempts": 1}
        yield row if row["status"] == "suppressed" else {**row, **sent}


def _delivery(row: Document) -> Delivery:
    return Delivery(row["_id"], body=message_of(row).body.decode())


def _billing(events: Sequence[Document]) -> Iterator[Document]:
    """The rows of all transactions, as the worker folds them."""
    streams: dict[str, list[Document]] = defaultdict(list)
    for event in events:
        if event["event_type"] == "payment_made":
            streams[event["stream_id"]].append(event)
    for stream, some in streams.items():
        ordered = sorted(some, key=lambda event: int(event["version"]))
        row = BILLING.refold([StoredEvent.from_document(event) for event in ordered], None, "live")
        yield {"_id": stream_object_id(stream), "rev": 1, **row}


def _completed_item(stream: str) -> Document:
    return {
        "_id": f"progress:{stream}",
        "event_type": "progress_fold",
        "data": {},
        "status": "completed",
        "retry_count": 1,
        "created_at": NOW,
        "processed_at": NOW,
        "stream_id": stream,
        "version": 1,
        "last_error": "KeyError in lessons",
        "lease_owner": None,
        "lease_until": None,
    }


def _job() -> Document:
    return {**job_run("verify-1f3a9c2b4d", 1), "status": "succeeded", "started_at": NOW, "finished_at": NOW}


def _metrics(outcomes: Mapping[Outcome, int], run: Run) -> str:
    """What the worker's own metrics say after this run."""
    metrics = Metrics()
    metrics.prepare_topic(TOPIC)
    metrics.kafka_records_consumed_total.labels(TOPIC).inc(len(run.log))
    for outcome, count in outcomes.items():
        metrics.events_processed_total.labels(TOPIC, outcome).inc(count)
    for partition in range(PARTITIONS):
        metrics.kafka_consumer_lag_records.labels(TOPIC, str(partition)).set(0)
        metrics.kafka_consumer_lag_seconds.labels(TOPIC, str(partition)).set(0)
    return generate_latest(metrics.registry).decode()


def at_topic(run: Run, topic: str) -> Run:
    """The same run on a topic of another name."""
    moved = replace(
        run,
        log=[replace(record, topic=topic) for record in run.log],
        committed={(topic, partition): offset for (_, partition), offset in run.committed.items()},
    )
    for event in moved.events:
        if event["metadata"]["source"] is not None:
            event["metadata"]["source"]["topic"] = topic
    for dead_letter in moved.dead_letters:
        dead_letter["topic"] = topic
    return moved
