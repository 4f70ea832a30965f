"""Everything the worker stored, read once with majority read concern; nothing here checks it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid5

from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.read_concern import ReadConcern

Document = dict[str, Any]

_OPTIONS: CodecOptions[Document] = CodecOptions(
    document_class=dict, tz_aware=True, uuid_representation=UuidRepresentation.STANDARD
)
VOID = "void"
"""The event type that fills a hole in a stream's versions; no producer's."""
OPENING = "opening"
"""The event type that says what an adopted record was; no producer's either."""
RESERVED = "_0000000043414e415259"
"""Stands in the stream of a canary: it is stored and folded, and has no part in whatever is counted or announced."""


DERIVED_PAYMENT = UUID("3d1f7c5a-90b4-5c1e-8f2d-6a7e4b0c9d13")
"""Of an enrolment's id it makes that of the event which the worker stores for its payment (docs/contract.md)."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The collections the invariants speak of; `others` are all others, by full name."""

    events: Sequence[Document] = ()
    rows: Sequence[Document] = ()
    dead_letters: Sequence[Document] = ()
    progress: Sequence[Document] = ()
    projections: Sequence[Document] = ()
    courses: Sequence[Document] = ()
    course_versions: Sequence[Document] = ()
    version_histories: Sequence[Document] = ()
    users: Sequence[Document] = ()
    notifications: Sequence[Document] = ()
    billing: Sequence[Document] = ()
    queue: Sequence[Document] = ()
    skipped: Sequence[Document] = ()
    others: Mapping[str, Sequence[Document]] = field(default_factory=dict)
    rows_gone_before: datetime | None = None
    """Rows of earlier events may have expired; None where rows never do."""

    def content(self, collection: str) -> Sequence[Document]:
        """The documents of a collection of the content database that is among the `others`."""
        named = (each for name, each in self.others.items() if name.endswith(f"_content.{collection}"))
        return [document for documents in named for document in documents]

    @property
    def streams(self) -> Mapping[str, Sequence[Document]]:
        """The events by stream, voids included, in the order of their versions."""
        streams: dict[str, list[Document]] = defaultdict(list)
        for event in sorted(self.events, key=lambda event: int(event["version"])):
            streams[event["stream_id"]].append(event)
        return streams

    @property
    def transactions(self) -> Mapping[str, Sequence[Document]]:
        """The events of transactions by stream, with a void in place of each that is left out of `billing`."""
        streams = self.streams_of("billing").items()
        return {name: events for name, events in streams if name.startswith("transaction_")}

    @property
    def folded_streams(self) -> Mapping[str, Sequence[Document]]:
        """As `streams`, with a void in place of each event that somebody has left out of `progress`."""
        return {name: events for name, events in self.streams_of("progress").items() if "_user_" in name}

    def streams_of(self, projection: str) -> Mapping[str, Sequence[Document]]:
        """As `streams`, with a void in place of each event that somebody has left out of this projection."""
        return {
            stream: [self._as_folded(event, projection) for event in events]
            for stream, events in self.streams.items()
        }

    @property
    def folded_events(self) -> Sequence[Document]:
        """All events, with a void in place of each that is left out."""
        return [*map(self._as_folded, self.events)]

    def _as_folded(self, event: Document, projection: str = "progress") -> Document:
        place = event["stream_id"], event["version"], event["_id"]
        for each in self.skipped:
            stands = each["projection"] == projection and each["taken_back_at"] is None
            if stands and place == (each["stream_id"], each["version"], each["event_id"]):
                return {**event, "event_type": VOID, "recorded_at": each["recorded_at"]}
        return event

    @property
    def counted_progress(self) -> Sequence[Document]:
        """The progress documents that somebody is to count."""
        return [each for each in self.progress if RESERVED not in str(each.get("stream_id"))]

    @property
    def counted_streams(self) -> Mapping[str, Sequence[Document]]:
        """As `folded_streams`, without those that nobody counts."""
        return {stream: events for stream, events in self.folded_streams.items() if RESERVED not in stream}

    @property
    def counted_events(self) -> Sequence[Document]:
        """As `folded_events`, without those that nobody counts."""
        return [event for event in self.folded_events if RESERVED not in event["stream_id"]]

    @property
    def real_events(self) -> Sequence[Document]:
        """Events of producers: all but the worker's own."""
        named = {
            uuid5(DERIVED_PAYMENT, str(event["_id"]))
            for event in self.events
            if event["event_type"] == "course_enrolled"
        }
        return [
            event
            for event in self.events
            if event["event_type"] not in (VOID, OPENING) and event["_id"] not in named
        ]

    @property
    def records(self) -> Sequence[Document]:
        """The dead letters that stand for a record; the others are gaps, and parts of large values."""
        return [dead_letter for dead_letter in self.dead_letters if dead_letter["kind"] == "record"]

    def bytes_of(self, dead_letter: Document) -> bytes:
        """The value a dead letter keeps, put together from its parts."""
        if not dead_letter["parts"]:
            return dead_letter["value"] or b""
        return self.joined(dead_letter, None)

    def joined(self, dead_letter: Document, of: str | None) -> bytes:
        """What lies in parts: the value, or its `key`, or its `headers`."""
        own = [
            part
            for part in self.dead_letters
            if part.get("part_of") == dead_letter["_id"] and part.get("of") == of
        ]
        return b"".join(part["value"] for part in sorted(own, key=lambda part: int(part["part"])))

    @property
    def ids(self) -> frozenset[UUID]:
        return frozenset(event["_id"] for event in self.events)


_CONTENT = {
    "events": "course_events",
    "progress": "user_progress",
    "projections": "user_progress_projections",
    "courses": "courses",
    "course_versions": "course_versions",
    "version_histories": "version_history",
    "users": "users",
    "notifications": "notifications",
    "billing": "billing_transactions",
}
_EXPIRED_BEFORE = "worker_time_series_expired_before"
_ANALYTICS = {"rows": "user_interactions", "dead_letters": "dead_letters", "queue": "analytics_queue"}


def read_stored(mongodb_uri: str, prefix: str) -> Stored:
    """All of the databases `<prefix>_content`, `_analytics` and `_config`. Raises PyMongoError."""
    with MongoClient[Document](mongodb_uri) as client:
        content, analytics, config = (
            client.get_database(f"{prefix}_{name}", _OPTIONS, read_concern=ReadConcern("majority"))
            for name in ("content", "analytics", "config")
        )
        found = {name: list(content[collection].find()) for name, collection in _CONTENT.items()}
        found["events"] = with_lists(found["events"], config["lesson_lists"].find())
        return Stored(
            **found,
            **{name: list(analytics[collection].find()) for name, collection in _ANALYTICS.items()},
            skipped=list(config["skipped_versions"].find()),
            others=_others(config, content, analytics),
            rows_gone_before=_gone_before(analytics, config),
        )


def with_lists(events: Iterable[Document], lists: Iterable[Document]) -> list[Document]:
    """The events, each that names a list of lessons with the list itself, where it is what its name says."""
    known = {each["_id"]: each["lessons"] for each in lists if _is_named_by(each["lessons"], each["_id"])}
    named = [(event, (event.get("curriculum") or {}).get("lesson_list")) for event in events]
    return [
        {**event, "curriculum": {**event["curriculum"], "lessons": known[name]}} if name in known else event
        for event, name in named
    ]


def _is_named_by(lessons: bytes, name: bytes) -> bool:
    return sha256(lessons).digest()[:16] == name


def _gone_before(analytics: Database[Document], config: Database[Document]) -> datetime | None:
    """The later of what the time series says of itself now, and of what is kept of the time before.

    Another hour belongs to it: the server removes by its own clock.
    """
    reached = [row["value"] for row in config["system_settings"].find({"_id": _EXPIRED_BEFORE})]
    listed = analytics.list_collections(filter={"name": _ANALYTICS["rows"]})
    for kept_s in [each["options"].get("expireAfterSeconds") for each in listed]:
        if kept_s:
            reached += [datetime.now(UTC) - timedelta(seconds=int(kept_s)) + timedelta(hours=1)]
    return max(reached, default=None)


def _others(*databases: Database[Document]) -> Mapping[str, Sequence[Document]]:
    named = {*_CONTENT.values(), *_ANALYTICS.values()}
    return {
        f"{database.name}.{name}": list(database[name].find())
        for database in databases
        for name in database.list_collection_names()
        if name not in named and not name.startswith("system.")
    }
