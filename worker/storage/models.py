"""The stored documents as pydantic models, one per shape: the validators are generated from them.

The worker does not run its own documents through these models on the way to the server; the server checks
them. A model that forbids further fields describes documents the worker alone writes; an open one (`Open`)
describes documents it shares with the platform and only pins the fields it relies on. Field types are BSON's:
`float` is a double, `int` a 32- or 64-bit integer, `int | float` any number, `datetime` a date, `bytes` and
`UUID` binary. A field with a default may be absent, and is null only if its type says so. The shapes of
what projections write stand with them.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from bson import ObjectId
from pydantic import BaseModel, Field

from projections.catalogue import CATALOGUE, SHARED
from projections.kinds import Catalogue
from worker.contract.trace_context import LONGEST_PARENT, LONGEST_STATE
from worker.storage.job_models import AuditEntry, BeforeImage, JobLease, JobRun, SchedulePosition
from worker.storage.model_bases import Closed, Count, Named, Number, Open, Positive, Slot, Text, absent
from worker.storage.worker_models import Worker


class EventSource(Closed):
    """The record an event came from."""

    topic: Text
    partition: Count
    offset: Count
    index: Count


class EventMetadata(Closed):
    """About the event, not about the learner; `source` is null in an event of the worker's own.

    Documents from before fingerprints had a version, voids and openings have no `fingerprint_version`. `origin` names
    the job that brought the event; one that came as it happened has none. `traceparent` and `tracestate` are those
    of its record's headers, where it had any (see `worker.contract.trace_context`).
    """

    timestamp: datetime
    correlation_id: str | None
    producer: str | None
    fingerprint: bytes
    fingerprint_version: Positive = Field(default_factory=absent)
    origin: Text = Field(default_factory=absent)
    traceparent: Annotated[str, Field(max_length=LONGEST_PARENT)] = Field(default_factory=absent)
    tracestate: Annotated[str, Field(max_length=LONGEST_STATE)] = Field(default_factory=absent)
    source: EventSource | None


class EventData(Closed):
    """What happened, and to what; `details` is the producer's own object, without what is personal of it.

    Which of the ids there must be follows from the event's family (`contract.families`): those that its stream names.
    Nothing here identifies a person by itself: such fields lie in `personal`, in every family.
    """

    course_id: ObjectId = Field(default_factory=absent)
    user_id: ObjectId = Field(default_factory=absent)
    content_id: ObjectId = Field(default_factory=absent)
    block_id: ObjectId = Field(default_factory=absent)
    relationship_id: ObjectId = Field(default_factory=absent)
    workflow_id: ObjectId = Field(default_factory=absent)
    transaction_id: ObjectId = Field(default_factory=absent)
    promotion_id: ObjectId = Field(default_factory=absent)
    lesson_id: ObjectId = Field(default_factory=absent)
    session_id: str = Field(default_factory=absent)
    device_type: str = Field(default_factory=absent)
    value: Number = Field(default_factory=absent)
    details: dict[str, Any] = Field(default_factory=absent)


class Personal(Open):
    """Fields that identify a person; open, because sealing replaces them by an envelope under `key_id`.

    `details` has the personal keys of the producer's details (see `worker.contract.personal`). Those of an opening
    event are `texts` and `originals` (see `worker.storage.documents.Opening`).
    """

    user_agent: str = Field(default_factory=absent)
    ip_address: str = Field(default_factory=absent)
    text: str = Field(default_factory=absent)
    details: dict[str, Any] = Field(default_factory=absent)


class Curriculum(Open):
    """What ingest knew of the course when the event was stored; `version` is as the course's author wrote it.

    `lesson_list` names the list of the course's lessons (`storage.lesson_lists`), in enrolments and first events.
    Those of before have the list itself, `lessons` (`storage.curriculum.listed_lessons`), and mean the same.
    """

    version: Any = None
    module_id: ObjectId | None = None
    lesson_type: str | None = None
    skills: list[str] | None = None
    topic: str | None = None
    total_lessons: int | None = None
    lesson_list: bytes | None = None
    lessons: bytes | None = None


class CourseEvent(Closed):
    """`course_events`: an accepted event of any family, a void or an opening.

    `time_zone` is the learner's, an IANA name.
    """

    id: UUID = Field(alias="_id")
    stream_id: Text
    version: Positive
    event_type: Text
    event_data: EventData
    metadata: EventMetadata
    personal: Personal
    key_id: str | None
    curriculum: Curriculum | None
    time_zone: Text = Field(default_factory=absent)
    slot: Slot
    occurred_at: datetime
    recorded_at: datetime
    schema_version: Positive


class Notification(Named):
    """`notifications`, the outbox: `_id` is the unique key that makes a second upsert harmless.

    `attempts` counts claims, `refusals` those among them whose content the receiver refused. A row that is
    `suppressed` with a channel was stopped by the learner's preferences, one without was never to be sent.
    """

    kind: Text
    stream_id: Text
    user_id: ObjectId
    course_id: ObjectId
    status: Literal["pending", "taken", "sent", "suppressed", "failed"]
    created_at: datetime
    due_at: datetime
    attempts: Count
    refusals: Count = Field(default_factory=absent)
    lease_owner: str | None
    lease_until: datetime | None
    sent_at: datetime | None
    last_error: str | None
    channel: str | None
    data: dict[str, Any]


class QueueItem(Open):
    """`analytics_queue`: the spec's item, which the platform may add, and the worker's own fields.

    `retry_count` counts attempts from their claim on, `last_retry` is the last claim, `code_version` the code
    that failed or tried last. `occurrences` counts how often a live step met the failure;
    `tried_by` are the code versions that had attempts. `cut_off` counts the attempts that their worker
    did not survive.
    """

    id: str | ObjectId = Field(alias="_id")
    event_type: Text
    data: dict[str, Any]
    status: Literal["pending", "processing", "completed", "failed"]
    retry_count: Count
    created_at: datetime
    last_error: str | None = None
    last_retry: datetime | None = None
    processed_at: datetime | None = None
    stream_id: str | None = None
    version: int | None = None
    error_class: str | None = None
    code_version: str | None = None
    occurrences: Count = Field(default_factory=absent)
    tried_by: list[str] = Field(default_factory=absent)
    cut_off: Count = Field(default_factory=absent)
    due_at: datetime | None = None
    lease_owner: str | None = None
    lease_until: datetime | None = None


class DeadLetterHeader(Closed):
    """One Kafka header, bytes as they came."""

    key: str
    value: bytes | None


class OffsetGap(Closed):
    """Offsets that could not be read, both ends included."""

    first_offset: Count
    last_offset: Count


class DeadLetter(Named):
    """`dead_letters`: a record that cannot be stored, or a gap; `value` is null if its bytes lie in parts.

    So are `key` and `headers`, if the fields named after them are there. `without_bytes`: the store refused them.
    """

    kind: Literal["record", "gap"]
    step: Text
    reason: Text
    error_class: str | None
    field: str | None
    message: str
    topic: Text
    partition: Count
    offset: Count
    event_id: UUID | None
    key: bytes | None
    headers: list[DeadLetterHeader]
    key_parts: Positive = Field(default_factory=absent)
    key_size_bytes: Count = Field(default_factory=absent)
    key_sha256: bytes = Field(default_factory=absent)
    headers_parts: Positive = Field(default_factory=absent)
    headers_size_bytes: Count = Field(default_factory=absent)
    headers_sha256: bytes = Field(default_factory=absent)
    value: bytes | None
    parts: Count
    without_bytes: bool = Field(default_factory=absent)
    size_bytes: Count
    payload_sha256: bytes | None
    fingerprint: str
    kafka_timestamp: datetime | None
    attempts: Count
    redrives: Count
    redriven_at: datetime | None = None
    code_version: str
    created_at: datetime
    gap: OffsetGap | None


class DeadLetterPart(Named):
    """`dead_letters`: a slice of a value, key or headers too large for one document; parts count from 1.

    Headers are as a record batch encodes them (`worker.storage.record_headers`).
    """

    kind: Literal["part"]
    part_of: Text
    part: Positive
    of: Literal["key", "headers"] = Field(default_factory=absent)
    value: bytes
    created_at: datetime


class PartitionLease(Named):
    """`leases`: whose session may write the time-series rows of one topic-partition.

    `session` is its owner's, `repairer` that of whoever repairs rows below the committed offset. All records below
    `durable` are in the store, but for the ranges that are `missing` since a backup was restored. That holds while
    `durable_session`, who said so, is the owner: an older release leaves both as they are, and goes on.
    """

    kind: Literal["partition"]
    session: UUID
    repairer: UUID = Field(default_factory=absent)
    burns: Count
    burned: list[UUID] = Field(default_factory=absent)
    durable: Count = Field(default_factory=absent)
    durable_session: UUID = Field(default_factory=absent)
    missing: list[OffsetGap] = Field(default_factory=absent)
    updated_at: datetime


class GroupLease(Named):
    """`leases`: who folds one group of slots; `epoch` is raised whenever the owner changes."""

    kind: Literal["group"]
    owner: str | None
    epoch: Count
    expires_at: datetime


class MemberLease(Named):
    """`leases`: one live watcher, so that the groups can be shared out evenly; `version` is its projection's.

    It lives `since`, holds a group since `holds_since`, and has `proved` itself when it survived that. One without
    `layout` is of a release that does not know `projection_state`.
    """

    kind: Literal["member"]
    owner: Text
    version: Count = Field(default_factory=absent)
    layout: Positive = Field(default_factory=absent)
    since: datetime = Field(default_factory=absent)
    holds_since: datetime | None = Field(default_factory=absent)
    proved: bool = Field(default_factory=absent)
    expires_at: datetime


class MemberLeaseOfNow(MemberLease):
    """`leases`: a live watcher once everything stands in `projection_state`; one that does not know it is refused."""

    layout: Positive


class ResumePosition(Named):
    """`projection_state`: the resume token up to which a group's changes have had their effect.

    `versions` names the projections whose worker saved the token, each with its version; none before that.
    """

    kind: Literal["position"]
    token: dict[str, Any] | None
    epoch: Count
    versions: dict[str, int]
    saved_at: datetime


class CountingSession(Named):
    """`projection_state`: the session whose transactions count, null once it ended in good order."""

    kind: Literal["session"]
    session: UUID | None
    writes: Count
    saved_at: datetime


class WriteConflictMarker(Named):
    """`projection_state`: a course or user on which transactions meet; of a course, whom it is counted for."""

    kind: Literal["marker"]
    instructor_id: ObjectId | None = Field(default_factory=absent)
    writes: Count
    saved_at: datetime


class StateMigration(Named):
    """`projection_state`: where markers and session stand while a release before may still run."""

    kind: Literal["migration"]
    markers_in: Literal["watch_positions", "projection_state"]
    writes: Count
    saved_at: datetime


class WatchPosition(Named):
    """`watch_positions`, which `projection_state` replaces: a token or what else the release before kept there.

    `version` is that of the projection whose worker saved the token: absent before the first one is saved.
    Under `counts:course:<id>` and `counts:user:<id>` transactions on statistics meet; a course's `token` holds the
    instructor it is counted for.
    """

    token: dict[str, Any] | None
    epoch: Count
    version: Count = Field(default_factory=absent)
    saved_at: datetime


class Tombstone(Open):
    """`tombstones`: a learner whose events are not to be stored any more; `_id` is the user's."""

    id: ObjectId = Field(alias="_id")
    reason: str
    created_at: datetime


class SkippedVersion(Named):
    """`skipped_versions`: a projection leaves one stored event out, as if a void stood at its version.

    `recorded_at` is that of the event, where it has one. `event_type` and `failure` are what was known of it when it
    was decided, for people. `who` decided, or the role `retry` by its setting, which is `automatic` then. One that
    was taken back stays, and says so: what was announced meanwhile rests on it.
    """

    projection: Text
    stream_id: Text
    version: Positive
    event_id: Any
    event_type: str | None
    failure: str | None
    who: Text
    reason: Text
    automatic: bool
    decided_at: datetime
    recorded_at: datetime
    taken_back_at: datetime | None
    taken_back_by: str | None


class LessonList(Closed):
    """`lesson_lists`: ids of lessons in their course's order, 12 bytes each, stored once by its content.

    `_id` are the first 16 bytes of the SHA-256 of `lessons`. Events name it: it never changes and never expires.
    """

    id: bytes = Field(alias="_id")
    lessons: bytes
    recorded_at: datetime


class Course(Open):
    """`courses`: the spec's own validator; the rest of the document is the platform's."""

    id: ObjectId = Field(alias="_id")
    title: Annotated[str, Field(min_length=3, max_length=200)]
    slug: Annotated[str, Field(pattern="^[a-z0-9-]+$")] = Field(default_factory=absent)
    instructor_id: ObjectId
    status: Literal["draft", "review", "published", "archived"]
    stats: dict[str, Any] = Field(default_factory=absent)
    created_at: datetime
    updated_at: datetime = Field(default_factory=absent)


class User(Open):
    """`users`: what the worker relies on; the spec gives no validator and the document is the platform's."""

    id: ObjectId = Field(alias="_id")
    email: str = Field(default_factory=absent)
    username: str = Field(default_factory=absent)
    stats: dict[str, Any] = Field(default_factory=absent)


class SystemSetting(Open):
    """`system_settings`: the spec's own validator; `value` may be anything."""

    key: str
    value: Any
    environment: Literal["development", "staging", "production"]


_PLATFORM: Mapping[str, tuple[type[BaseModel], ...]] = {
    "courses": (Course,),
    "users": (User,),
    "course_events": (CourseEvent,),
    "notifications": (Notification,),
    "analytics_queue": (QueueItem,),
    "dead_letters": (DeadLetter, DeadLetterPart),
    "system_settings": (SystemSetting,),
    "leases": (PartitionLease, GroupLease, MemberLease, JobLease),
    "projection_state": (ResumePosition, CountingSession, WriteConflictMarker, StateMigration),
    "watch_positions": (WatchPosition,),
    "job_runs": (JobRun,),
    "audit": (AuditEntry,),
    "schedule_positions": (SchedulePosition,),
    "before_images": (BeforeImage,),
    "skipped_versions": (SkippedVersion,),
    "lesson_lists": (LessonList,),
    "tombstones": (Tombstone,),
    "workers": (Worker,),
}


def models_of(catalogue: Catalogue) -> Mapping[str, tuple[type[BaseModel], ...]]:
    """The shapes a collection may hold. A time series has no validator; `cache` is not ours.

    In a shared collection documents of the platform's may lie, whoever owns it: what the worker makes there is of the
    platform's shape, and `verify` knows it more exactly.
    """
    made = {target.collection: target.shapes for target in catalogue.targets}
    return {**_PLATFORM, **{name: shapes for name, shapes in made.items() if name not in SHARED}}


MODELS = models_of(CATALOGUE)

LEASES_OF_NOW: tuple[type[BaseModel], ...] = (PartitionLease, GroupLease, MemberLeaseOfNow, JobLease)
"""The shapes of `leases` once no worker that does not know `projection_state` may run any more."""
