"""A stored event that blocks its stream, in an operator's hands: left out of a projection, and taken in again.

A decision and the item that wakes its stream are written in one transaction; the role `retry` then folds the stream.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo.errors import DuplicateKeyError

from projections.event import VOID
from projections.kinds import StreamProjection
from worker.contract.identity import stream_kind, stream_object_id
from worker.errors import Retryable, WorkerError
from worker.storage import reading
from worker.storage.database import Database
from worker.storage.models import SkippedVersion
from worker.storage.skipped_versions import (
    STANDING,
    EventAt,
    decision_of,
    event_at,
    put_decision,
    skipped_version_id,
    take_back,
)
from worker.storage.transactions import Session, transact
from worker.storage.work_items import OPEN, fold_item_id
from worker.timing import Clock

# A transaction meets the retry role's claims, for a few milliseconds each; longer is a server that is away.
_WITHIN_S = 30.0
_LONGEST_FAILURE = 1_000


class CannotSkip(WorkerError):
    """What was asked for makes no sense as things stand: the message says how they stand."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asked for. `stream` may be the id of its item, as `queue list` shows it."""

    stream: str
    version: int
    who: str
    reason: str
    projection: str | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """The decision that stands, or that stood; `before`: it had been made by somebody else, or earlier."""

    decision: SkippedVersion
    before: bool = False


async def skip_event(
    database: Database, asked: Asked, code_version: str, clock: Clock, *, dry_run: bool = False
) -> Decided:
    """Leave the event out that blocks a stream, and have the stream go on.

    Raises CannotSkip for anything but the version at which the stream stands: a version that is folded is not taken
    back. Of two who ask at once, the second is shown the decision of the first.
    """
    projection, stream = _place(database, asked)
    now = _to_milliseconds(clock.now())

    async def work(session: Session) -> Decided:
        store = _Store(database, projection, stream, asked.version, session)
        if (standing := await store.decision()) is not None:
            ours = (standing.decided_at, standing.who, standing.reason) == (now, asked.who, asked.reason)
            return Decided(standing, before=not ours)  # ours: the answer to an earlier commit was lost
        decision = await _decision(store, asked, now)
        if not dry_run:
            try:
                await put_decision(database, decision, code_version, session)
            except DuplicateKeyError as error:
                raise Retryable("somebody else decides at the same time") from error
        return Decided(decision)

    return await transact(database.client, work, clock, _WITHIN_S)


async def unskip_event(
    database: Database, asked: Asked, code_version: str, clock: Clock, *, dry_run: bool = False
) -> SkippedVersion:
    """Take the decision about a version back, and have its stream folded with the event again.

    Raises CannotSkip where none stands.
    """
    projection, stream = _place(database, asked)

    async def work(session: Session) -> SkippedVersion:
        store = _Store(database, projection, stream, asked.version, session)
        decision = await store.decision()
        if decision is None:
            raise CannotSkip(f"version {asked.version} of {stream} is not skipped for {projection.name}")
        if not dry_run:
            await take_back(database, decision, asked.who, code_version, session)
        return decision

    return await transact(database.client, work, clock, _WITHIN_S)


async def skipped_events(
    database: Database, stream: str | None = None, *, taken_back: bool = False
) -> list[SkippedVersion]:
    """The decisions that stand, of one stream if it is named, oldest first; what is none is left to `verify`.

    With `taken_back` all there ever were.
    """
    named = {} if stream is None else {"stream_id": _parts(database, stream)[1]}
    query = named if taken_back else {**named, **STANDING}
    found = await reading.find(database.skipped_versions, query, sort=[("decided_at", 1), ("_id", 1)])
    return found.through(decision_of).values


@dataclass(frozen=True, slots=True)
class _Store:
    """What one snapshot shows of a stream and its version."""

    database: Database
    projection: StreamProjection
    stream: str
    version: int
    session: Session

    async def decision(self) -> SkippedVersion | None:
        """The decision that stands; CannotSkip for a document in its place that is none."""
        identity = skipped_version_id(self.projection.name, self.stream, self.version)
        found = await reading.find(self.database.skipped_versions, {"_id": identity}, session=self.session)
        taken = found.through(decision_of)
        if taken.unreadable:
            where = f"{self.database.skipped_versions.full_name} {identity}"
            raise CannotSkip(f"somebody wrote a document that is no decision in its place: remove {where}")
        return next((each for each in taken.values if each.taken_back_at is None), None)

    async def event(self) -> EventAt | None:
        return await event_at(self.database, self.stream, self.version, self.session)

    async def last_version(self) -> int:
        """The highest version of the stream, 0 for one without events."""
        named, order = {"stream_id": self.stream}, [("version", -1)]
        found = await reading.find(
            self.database.course_events, named, {"version": 1}, sort=order, limit=1, session=self.session
        )
        return found.documents[0]["version"] if found.documents else 0

    async def open_item(self) -> Mapping[str, Any] | None:
        """The item that says where the stream stands, if there is one."""
        named = {"_id": fold_item_id(self.stream, self.projection.name), "status": {"$in": list(OPEN)}}
        paths = {"version": 1, "error_class": 1, "last_error": 1}
        found = await reading.find(self.database.analytics_queue, named, paths, session=self.session)
        return found.documents[0] if found.documents else None

    async def folded(self) -> int:
        """How far the document has come, 0 where there is none or where it does not say."""
        documents = self.database.collection(self.projection.target.collection)
        named = {"_id": stream_object_id(self.stream)}
        found = await reading.find(documents, named, {"version": 1}, session=self.session)
        version = found.documents[0].get("version") if found.documents else 0
        return version if isinstance(version, int) else 0


async def _decision(store: _Store, asked: Asked, now: datetime) -> SkippedVersion:
    """What is to be decided. Raises CannotSkip where there is nothing to be skipped."""
    event = await store.event()
    if event is None:
        last = await store.last_version()
        has = f"its versions go to {last}" if last else "it has no events"
        raise CannotSkip(f"there is no version {store.version} of {store.stream}: {has}")
    if event.event_type == VOID:
        raise CannotSkip(
            f"version {store.version} of {store.stream} is a void, which every fold skips anyway"
        )
    item = await store.open_item()
    _require_blocked(store, item, await store.folded())
    failed = [str(item.get(name) or "") for name in ("error_class", "last_error")] if item else []
    return SkippedVersion(
        _id=skipped_version_id(store.projection.name, store.stream, store.version),
        projection=store.projection.name,
        stream_id=store.stream,
        version=store.version,
        event_id=event.id,
        event_type=event.event_type,
        failure=": ".join(filter(None, failed))[:_LONGEST_FAILURE] or None,
        who=asked.who,
        reason=asked.reason,
        automatic=False,
        decided_at=now,
        recorded_at=event.recorded_at or now,
        taken_back_at=None,
        taken_back_by=None,
    )


def _require_blocked(store: _Store, item: Mapping[str, Any] | None, folded: int) -> None:
    """Raise CannotSkip unless the stream stands at this version: a good event is not left out by a slip."""
    named = item.get("version") if item else None
    stands_at = named if isinstance(named, int) else folded + 1
    if stands_at == store.version:
        return
    if folded >= store.version:
        raise CannotSkip(
            f"version {store.version} of {store.stream} is in the document, which has come to {folded}: "
            f"only the version at which a stream stands can be skipped"
        )
    raise CannotSkip(f"{store.projection.name} of {store.stream} stands at version {stands_at}, not here")


def _place(database: Database, asked: Asked) -> tuple[StreamProjection, str]:
    """Projection and stream that are meant. Raises CannotSkip for what is none."""
    named, stream = _parts(database, asked.stream)
    if stream_kind(stream) is None:
        raise CannotSkip(f"no stream has the name '{stream[:100]}': a learner's is course_<id>_user_<id>")
    folding = {each.name: each for each in database.catalogue.streams if each.folds(stream)}
    name = asked.projection or named or (next(iter(folding)) if len(folding) == 1 else None)
    if name not in folding:
        raise CannotSkip(f"say with --projection which one is meant: {', '.join(folding) or 'none folds it'}")
    return folding[name], stream


def _parts(database: Database, text: str) -> tuple[str | None, str]:
    """An item's id taken apart: projection and stream."""
    name, colon, stream = text.partition(":")
    return (name, stream) if colon and name in database.catalogue.names else (None, text)


def _to_milliseconds(moment: datetime) -> datetime:
    """As the store keeps it: what is read again is then equal."""
    return moment.replace(microsecond=moment.microsecond // 1_000 * 1_000)
