"""Rows of the outbox made again from what was counted: those that are lost, and those that are doubted.

A row of the outbox that is made again is `suppressed`, since nobody knows whether the one before was sent; who wants
it sent says so. Counting writes a row in the transaction that counts its milestone. So of what one snapshot shows as
counted, a row that is absent is lost, unless the server had refused it, which its open item says.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

from bson import ObjectId
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne

from projections.counts import Milestone, milestones_of
from worker.chunks import chunks
from worker.contract.identity import stream_object_id
from worker.storage import reading
from worker.storage.database import Document
from worker.storage.encoding import same
from worker.storage.outbox import REMADE, is_late, notification_id, notification_row
from worker.storage.reading import Reading
from worker.storage.work_items import COUNTS_ROW, OPEN, counts_item_id
from worker.watch.sums.attempt import Attempt, Target, Write, ids_of
from worker.watch.sums.runner import Dependencies, Runner

Row = Mapping[str, Any]

_LEARNER = "learner"
_NONE: Mapping[str, Sequence[Any]] = MappingProxyType({})
_PER_TRANSACTION = 200
_RECORD_PATHS: Document = {"milestones": 1, "read_at": "$$NOW"}
_COUNTED_PATHS: Document = dict.fromkeys(("stream_id", "user_id", "course_id", "emitted"), 1)
# Nobody was told anything by such a row: it may be deleted.
_NEVER_SENT = ("pending", "suppressed")


@dataclass(frozen=True, slots=True)
class RowsRebuilt:
    """What was done, or would be: `numbers` by name; `kept` are surplus rows that may have been sent."""

    numbers: Counter[str] = field(default_factory=Counter)
    kept: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RowRebuild:
    """Makes rows again; may run twice, and beside counting and sending: each is decided in one transaction.

    `within` is the age up to which a milestone is announced. `send`: what is made, and what was made by a rebuild
    before, is to be sent, but for what a replay met or is too old. `dry`: nothing is written.
    """

    given: Dependencies
    within: timedelta
    send: bool = False
    dry: bool = False

    async def __call__(
        self, streams: Iterable[str], doubted: Mapping[str, Sequence[Any]] = _NONE
    ) -> RowsRebuilt:
        """See to the rows of these learners. `doubted` rows of the outbox, by stream, are replaced.

        A doubted row that belongs to no milestone of its stream is deleted, unless it may have been sent.
        """
        done = RowsRebuilt()
        runner = Runner(self.given, _PER_TRANSACTION)
        ids: dict[Target, str] = {(_LEARNER, stream_object_id(stream)): stream for stream in streams}
        by_learner = {key[1]: doubted.get(stream, ()) for key, stream in ids.items()}
        for some in chunks(sorted(ids, key=str), _PER_TRANSACTION):
            work = partial(self._transact, doubted=by_learner)
            async for _, step in runner.run(frozenset(some), work):
                done.numbers.update(step.numbers)
                done.kept.extend(step.kept)
        return done

    async def _transact(self, attempt: Attempt, doubted: Mapping[Any, Sequence[Any]]) -> RowsRebuilt:
        """1. read what was counted, and the records  2. the rows of their milestones."""
        database, done = self.given.database, RowsRebuilt()
        ids = ids_of(_LEARNER, attempt.keys)
        doubtful = {row for learner in ids for row in doubted[learner]}
        counted = await attempt.read(database.user_progress_projections, ids, _COUNTED_PATHS)  # 1
        records = await attempt.read(database.user_progress, ids, _RECORD_PATHS)
        rows = await self._rows(counted.documents, doubtful, attempt)
        excused = await self._excused(counted.documents, attempt)
        plan = _Plan(self, {each["_id"]: each for each in records.documents}, rows, doubtful, excused, done)
        writes = [write for each in counted.documents for write in plan.writes(each)]  # 2
        writes += plan.removals(counted.documents)
        await self._write(writes, attempt)
        return done

    async def _rows(
        self, counted: Sequence[Document], doubted: Iterable[Any], attempt: Attempt
    ) -> dict[Any, Document | None]:
        """The stored rows of all milestones, and the doubted ones, by `_id`; None for one that nobody can read."""
        ids = [notification_id(kind, each["stream_id"]) for each in counted for kind in each["emitted"]]
        found = await attempt.read(self.given.database.notifications, [*ids, *doubted], {})
        return {**{row["_id"]: row for row in found.documents}, **{one.id: None for one in found.unreadable}}

    async def _excused(self, counted: Sequence[Document], attempt: Attempt) -> set[str]:
        """Items of rows that the server refused: they are tried again by themselves."""
        kinds = [counts_item_id(kind, each["_id"]) for each in counted for kind in each["emitted"]]
        query = {"event_type": COUNTS_ROW, "status": {"$in": list(OPEN)}, "_id": {"$in": kinds}}
        found: Reading = await reading.find(
            self.given.database.analytics_queue, query, {"_id": 1}, session=attempt.session
        )
        return {item["_id"] for item in found.documents}

    async def _write(self, writes: Sequence[Write], attempt: Attempt) -> None:
        if not self.dry:
            await attempt.write(self.given.database.notifications, [(None, write) for write in writes])


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one snapshot's rows of the outbox need; counts it in `done`."""

    rebuild: RowRebuild
    records: Mapping[ObjectId, Document]
    rows: Mapping[Any, Document | None]
    doubted: set[Any]
    excused: set[str]
    done: RowsRebuilt

    def writes(self, counted: Document) -> Iterator[Write]:
        """The writes of one learner's milestones, as far as they were counted."""
        record = self.records.get(counted["_id"])
        reached = {each.kind: each for each in milestones_of(record)} if record else {}
        for kind in counted["emitted"]:
            milestone = reached.get(kind)
            if milestone is None or record is None:
                self.done.numbers["without_milestone"] += 1  # the record is behind: it is folded again first
            elif (write := self._write(counted, milestone, record)) is not None:
                yield write

    def _write(self, counted: Document, milestone: Milestone, record: Document) -> Write | None:
        wanted = self._wanted(counted, milestone, record)
        identity, numbers = wanted["_id"], self.done.numbers
        if identity not in self.rows:
            if counts_item_id(milestone.kind, counted["_id"]) in self.excused:
                numbers["waiting"] += 1
                return None
            numbers.update(_told("made", wanted))
            return InsertOne(wanted)
        row = self.rows[identity]
        if identity in self.doubted:
            numbers.update(_told("replaced", wanted))
            if _may_have_waited(row) and same(wanted["last_error"], REMADE):
                numbers["held_back"] += 1
            return ReplaceOne({"_id": identity}, wanted)
        if wanted["status"] == "pending" and _waits_for_a_word(row):
            numbers["to_send"] += 1
            return UpdateOne(
                {"_id": identity},
                {"$set": {"status": "pending", "last_error": None, "due_at": record["read_at"]}},
            )
        return None

    def _wanted(self, counted: Document, milestone: Milestone, record: Document) -> Document:
        now = record["read_at"]
        row = notification_row(
            milestone.kind,
            counted["stream_id"],
            counted["user_id"],
            counted["course_id"],
            by=milestone.by,
            data={"percentage": milestone.percentage, "reached_at": milestone.at},
            now=now,
            late=is_late(milestone.at, now, self.rebuild.within),
        )
        if row["status"] == "pending" and not self.rebuild.send:
            row |= {"status": "suppressed", "last_error": REMADE}
        return row

    def removals(self, counted: Iterable[Document]) -> list[Write]:
        """Doubted rows that belong to no milestone of these learners."""
        right = {notification_id(kind, each["stream_id"]) for each in counted for kind in each["emitted"]}
        removed: list[Write] = []
        for identity in self.doubted & self.rows.keys() - right:
            row = self.rows[identity]
            if row is not None and row.get("status") in _NEVER_SENT:
                self.done.numbers["removed"] += 1
                removed.append(DeleteOne({"_id": identity}))
            else:
                self.done.kept.append(identity)
        return removed


def _told(done: str, row: Row) -> tuple[str, ...]:
    """The names under which a new row is counted."""
    return (done, "to_send") if row["status"] == "pending" else (done,)


def _may_have_waited(row: Row | None) -> bool:
    """It was to be sent, or nobody can say that it was not."""
    return row is None or row.get("status") not in ("sent", "suppressed", "failed")


def _waits_for_a_word(row: Row | None) -> bool:
    """Made by a rebuild before, and still held back."""
    return row is not None and row.get("status") == "suppressed" and same(row.get("last_error"), REMADE)
