"""Running watchers, stored histories, and the documents they must lead to."""

import contextlib
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from projections.event import StoredEvent
from projections.kinds import By, StreamProjection
from projections.progress import FOLDED_PATHS
from projections.progress.projection import PROGRESS
from tests.integration.verify.history import stored_events
from tests.oracle.stored import with_lists
from tests.support.running import RunningRole, run
from tests.support.settings import changed
from worker.backlog import Backlog
from worker.gate import Gate
from worker.settings import WatchSettings
from worker.storage.database import Database, Document
from worker.storage.documents import void_document
from worker.storage.leases import group_name
from worker.storage.shares import GROUPS
from worker.telemetry.health import Health
from worker.telemetry.metrics import Metrics
from worker.timing import Clock, SystemClock
from worker.watch.folds.dependencies import FoldDependencies
from worker.watch.folds.projector import Projector
from worker.watch.follower import Follower
from worker.watch.roles import Watcher, event_follower

SETTINGS = WatchSettings(release="test", await_ms=50, lease_s=5.0, renewals_per_lease=25.0, save_every_s=0.0)

Histories = Mapping[str, list[Document]]


def variant(version: int = PROGRESS.version, fails_on: object = None) -> StreamProjection:
    """The real fold under another version number, or raising at the events of one lesson, or of a set of them."""

    def fold(current: Mapping[str, Any] | None, events: Sequence[StoredEvent], by: By) -> dict[str, Any]:
        raise_on(events)
        ours = current and {**current, "projection_version": PROGRESS.version}
        return {**PROGRESS.fold(ours, events, by), "projection_version": version}

    def refold(events: Sequence[StoredEvent], keep: Mapping[str, Any] | None, by: By) -> dict[str, Any]:
        raise_on(events)
        return {**PROGRESS.refold(events, keep, by), "projection_version": version}

    def raise_on(events: Sequence[StoredEvent]) -> None:
        lessons = fails_on if isinstance(fails_on, set) else {fails_on} - {None}
        if any(event.lesson_id in lessons for event in events):
            raise ArithmeticError("the fold of this lesson has a bug")

    return replace(PROGRESS, version=version, fold=fold, refold=refold)


def histories(learners: int, events: int, prefix: str = "learner") -> dict[str, list[Document]]:
    """Stored events of some learners, by stream."""
    now = datetime.now(UTC)
    made = [stored_events(f"{prefix}-{n}", range(1, events + 1), now) for n in range(learners)]
    return {each[0]["stream_id"]: each for each in made}


def interleaved(streams: Histories, first: int = 1, last: int | None = None) -> list[Document]:
    """Versions `first` to `last` of all streams, as a log would hold them: version by version."""
    chosen = [event for events in streams.values() for event in events[first - 1 : last]]
    return sorted(chosen, key=lambda event: int(event["version"]))


async def store(database: Database, events: Iterable[Document]) -> None:
    documents = list(events)
    await database.course_events.insert_many(documents, ordered=False)


async def documents(database: Database) -> dict[str, Document]:
    """All progress documents by stream, as far as the fold owns them, without what tells how events arrived."""
    found = await database.user_progress.find({}).to_list(None)
    return {each["stream_id"]: owned(each) for each in found}


def owned(document: Mapping[str, Any]) -> Document:
    fields = {name: document[name] for name in FOLDED_PATHS if name in document}
    reached = {kind: one and one["at"] for kind, one in document["milestones"].items()}
    return {**fields, "milestones": reached, "recorded_at": None}


async def expected(database: Database) -> dict[str, Document]:
    """What one fold over each whole stream of the event store gives, events aside that are to be left out."""
    events = await database.course_events.find({}).sort([("stream_id", 1), ("version", 1)]).to_list(None)
    events = with_lists(events, await database.lesson_lists.find({}).to_list(None))
    decisions = await database.skipped_versions.find({"taken_back_at": None}).to_list(None)
    left_out = [each["event_id"] for each in decisions]
    streams: dict[str, list[StoredEvent]] = {}
    for event in events:
        kept = event if event["_id"] not in left_out else _void_for(event)
        streams.setdefault(event["stream_id"], []).append(StoredEvent.from_document(kept))
    return {stream: owned(PROGRESS.refold(run, None, "live")) for stream, run in streams.items()}


def _void_for(event: Document) -> Document:
    return void_document(event["stream_id"], event["version"], event["recorded_at"])


@dataclass(slots=True)
class RunningProgress(RunningRole):
    """A progress role in this process."""

    role: Follower[Any]
    database: Database

    def applied(self, outcome: str = "applied") -> int:
        labels = {"projection": "progress", "mode": "live", "outcome": outcome}
        return int(self.value("projection_events_applied_total", **labels))

    def changes(self) -> int:
        return int(self.value("change_stream_events_total", watcher="progress"))

    def restarts(self, reason: str) -> int:
        return int(self.value("change_stream_restarts_total", watcher="progress", reason=reason))

    def heard_at(self) -> float:
        """Unix time of the change stream's last answer; 0 before the first."""
        return self.value("change_stream_last_heartbeat_timestamp_seconds", watcher="progress")

    def groups_held(self) -> int:
        return sum(int(self.value("lease_held", lease=group_name("progress", n))) for n in range(GROUPS))

    async def until_following(self, groups: int = GROUPS) -> None:
        """Groups taken, and the change stream has answered: what is stored from now on arrives by it."""
        await self.until(
            lambda: self.groups_held() == groups and self.heard_at() > 0, f"{groups} groups held"
        )

    async def until_past(self, changes: int) -> None:
        """The documents are current, so many changes are read, and the token lies behind the last of them.

        Documents are written after the events they follow: an answer that comes when they stand has a later token.
        """
        await self.until(lambda: self.changes() == changes, "all changes read")
        await self.until_current()
        for _ in range(2):  # the first of them may have been under way
            heard = self.heard_at()
            await self.until(lambda heard=heard: self.heard_at() > heard, "another answer")  # type: ignore[misc]

    async def until_current(self) -> None:
        """The documents are what one fold over the event store gives."""

        async def current() -> bool:
            versions = await highest_versions(self.database)
            found = self.database.user_progress.find({}, {"stream_id": 1, "version": 1})
            return {row["stream_id"]: row["version"] for row in await found.to_list(None)} == versions

        await self.until(current, "all streams folded")
        assert await documents(self.database) == await expected(self.database)


async def follow(database: Database, projection: StreamProjection) -> None:
    """Bring all documents of a projection up to what is stored, as a follower does."""
    heads = await highest_versions(database)
    own = {stream: head for stream, head in heads.items() if projection.folds(stream)}
    await projector(database, projection=projection).project(own)


async def highest_versions(database: Database) -> dict[str, int]:
    rows = await database.course_events.find({}, {"stream_id": 1, "version": 1}).to_list(None)
    heads: dict[str, int] = {}
    for row in rows:
        heads[row["stream_id"]] = max(row["version"], heads.get(row["stream_id"], 0))
    return heads


@contextlib.asynccontextmanager
async def running(
    database: Database,
    *,
    owner: str = "",
    checked_by: Database | None = None,
    projection: StreamProjection = PROGRESS,
    clock: Clock | None = None,
    gate: Gate | None = None,
    backlog: Backlog | None = None,
    **changes: Any,
) -> AsyncIterator[RunningProgress]:
    """Run a progress role; it is drained at the end, unless the test has ended it.

    `checked_by` reads for the test, where the role's own client is made to fail.
    """
    used, metrics = clock or SystemClock(), Metrics()
    component, settings = Health(used, metrics).component("progress"), changed(SETTINGS, **changes)
    named = owner or uuid.uuid4().hex
    watcher = Watcher(
        database, used, component, metrics, settings, named, gate=gate or Gate(), backlog=backlog
    )
    role = event_follower(watcher, (projection,))
    async with run(
        role, lambda task, stop: RunningProgress(metrics, task, stop, role, checked_by or database)
    ) as started:
        yield started


def fold_dependencies(
    database: Database,
    projection: StreamProjection = PROGRESS,
    clock: Clock | None = None,
    metrics: Metrics | None = None,
) -> FoldDependencies:
    """What folds work with, without leases."""

    async def nothing() -> None:
        """There is one server: all that is stored has a majority, and no lease is held."""

    return FoldDependencies(
        database, projection, clock or SystemClock(), metrics or Metrics(), nothing, nothing, "test"
    )


def projector(
    database: Database,
    *,
    projection: StreamProjection = PROGRESS,
    events_per_round: int = 4_000,
    doubting: bool = False,
    clock: Clock | None = None,
) -> Projector:
    """A projector alone, without leases and change stream."""
    return Projector(
        fold_dependencies(database, projection, clock),
        events_per_round=events_per_round,
        doubting=doubting,
    )
