"""Decisions that a projection leaves a stored event out, read by whoever folds: live, retry, rebuild and `verify`.

A version that is skipped folds as a void does: it counts as a version, and changes nothing else. The event stays as
it is. A decision is about one event: where another one stands at its version (the store went back in time and was
filled again in another order), it decides nothing.

Whoever folds reads a document first, and the decisions about its stream after it: a fold that does not know of a
decision has read its document before, and the one that every decision wakes overtakes it
(docs/decisions/2026-11-29-skipped-versions.md).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from worker.contract.identity import stream_kind
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.documents import void_document
from worker.storage.errors import translated
from worker.storage.models import SkippedVersion
from worker.storage.quarantine import Quarantined, woken
from worker.storage.transactions import Session
from worker.storage.work_items import FROM_FIRST, fold_item_id, fold_type


def skipped_version_id(projection: str, stream: str, version: int) -> str:
    """`_id` of the decision about a version: of two who decide at once, one does."""
    return f"{projection}:{stream}:{version}"


def decision_of(document: Mapping[str, Any]) -> SkippedVersion:
    """The decision in a stored document. ValueError for one that somebody else wrote: it decides nothing."""
    decision = SkippedVersion.model_validate(document)
    if stream_kind(decision.stream_id) is None:
        raise ValueError("no stream has this name")
    if decision.id != skipped_version_id(decision.projection, decision.stream_id, decision.version):
        raise ValueError("a decision under the key of another")
    return decision


@dataclass(frozen=True, slots=True)
class Skips:
    """The decisions of one projection about some streams, as a fold asks for them."""

    by_place: Mapping[tuple[str, int], SkippedVersion] = field(default_factory=dict)

    @property
    def streams(self) -> frozenset[str]:
        """Those that have a decision."""
        return frozenset(stream for stream, _ in self.by_place)

    @property
    def events(self) -> tuple[Any, ...]:
        """The ids of the events that are left out."""
        return tuple(each.event_id for each in self.by_place.values())

    def without_them(self, query: Document) -> Document:
        """The query for events, but for those that are left out."""
        return {**query, "_id": {"$nin": [*self.events]}} if self.by_place else query

    def covers(self, event: Mapping[str, Any]) -> bool:
        """Whether this event is left out where it stands."""
        return bool(self.by_place) and self._about(event) is not None

    def applied(self, events: Iterable[Document]) -> list[Document]:
        """The events, with a void in place of each that is left out."""
        return [self._void(event) or event for event in events] if self.by_place else [*events]

    def _void(self, event: Document) -> Document | None:
        decision = self._about(event)
        if decision is None:
            return None
        return void_document(decision.stream_id, decision.version, decision.recorded_at)

    def _about(self, event: Mapping[str, Any]) -> SkippedVersion | None:
        version = event.get("version")
        if not isinstance(version, int):
            return None
        decision = self.by_place.get((str(event.get("stream_id")), version))
        return decision if decision is not None and decision.event_id == event.get("_id") else None


NO_SKIPS = Skips()
STANDING: Document = {"taken_back_at": None}
"""Of decisions: those that nobody has taken back."""


async def skips_of(
    database: Database, projection: str, streams: Iterable[str], session: Session | None = None
) -> Skips:
    """The decisions that stand about these streams. Documents that are none decide nothing; `verify` names them."""
    named = [*streams]
    if not named:
        return NO_SKIPS
    wanted = {"projection": projection, "stream_id": {"$in": named}, **STANDING}
    found = await reading.find(database.skipped_versions, wanted, session=session)
    if not found.documents:
        return NO_SKIPS
    decisions = found.through(decision_of).values
    return Skips({(str(each.stream_id), int(each.version)): each for each in decisions})


@dataclass(frozen=True, slots=True)
class EventAt:
    """The event at a place of a stream, as far as it can be read."""

    id: Any
    event_type: str | None = None
    recorded_at: datetime | None = None


async def ever_decided(database: Database, projection: str, stream: str) -> bool:
    """Whether anything was ever decided about the stream, taken back since or not."""
    named = {"projection": projection, "stream_id": stream}
    return await reading.find_one(database.skipped_versions, named, {"_id": 1}) is not None


async def event_at(database: Database, stream: str, version: int, session: Session) -> EventAt | None:
    """The event of this version; None where there is none."""
    named, paths = {"stream_id": stream, "version": version}, {"event_type": 1, "recorded_at": 1}
    found = await reading.find(database.course_events, named, paths, session=session)
    for event in found.documents:
        kind, recorded_at = event.get("event_type"), event.get("recorded_at")
        return EventAt(
            event["_id"],
            str(kind) if isinstance(kind, str) else None,
            recorded_at if isinstance(recorded_at, datetime) else None,
        )
    return next((EventAt(each.id) for each in found.unreadable), None)


async def put_decision(
    database: Database, decision: SkippedVersion, code_version: str, session: Session
) -> None:
    """Record the decision and wake its stream, both or neither: whoever is killed here leaves nothing half done.

    `DuplicateKeyError` where another stands under its key.
    """
    taken_back = {"_id": decision.id, "taken_back_at": {"$ne": None}}
    with translated():
        await database.skipped_versions.replace_one(
            taken_back, decision.model_dump(by_alias=True), upsert=True, session=session
        )
    place = decision.projection, decision.stream_id, decision.version
    await _wake(database, *place, code_version, session)


async def take_back(
    database: Database,
    decision: SkippedVersion,
    who: str,
    code_version: str,
    session: Session,
) -> None:
    """Let a decision stand no more and wake its stream: both or neither."""
    fields: Document = {"$set": {"taken_back_by": who}, "$currentDate": {"taken_back_at": True}}
    with translated():
        await database.skipped_versions.update_one({"_id": decision.id}, fields, session=session)
    place = decision.projection, decision.stream_id, decision.version
    await _wake(database, *place, code_version, session)


async def _wake(
    database: Database,
    projection: str,
    stream: str,
    version: int,
    code_version: str,
    session: Session,
) -> None:
    """Have the stream folded from its first event, at once: what is decided about it has changed."""
    what = Quarantined(
        item_id=fold_item_id(stream, projection),
        event_type=fold_type(projection),
        error_class="Decided",
        message=f"whether version {version} is skipped has changed: the stream is to be folded again",
        stream_id=stream,
        version=version,
        data={FROM_FIRST: True},
    )
    with translated():
        await database.analytics_queue.bulk_write([woken(what, code_version)], session=session)
