"""Checks that what was counted is what the records say; right while the worker counts.

Each page is read in one snapshot transaction, in which record, projection, outbox and statistics are of one
time. Only a document the platform has just written may have to wait some seconds for its statistics.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from bson import ObjectId

from projections.counts.projection import COUNTS
from projections.counts.statistics import instructor_of
from projections.counts.teaching import INSTRUCTORS_COLLECTION
from projections.event import StoredEvent
from projections.progress import fold, refold
from worker.chunks import chunks
from worker.storage.database import Collection, Database, Document
from worker.storage.errors import translated
from worker.storage.leases import group_name
from worker.storage.lesson_lists import with_lists
from worker.storage.skipped_versions import ever_decided
from worker.storage.work_items import COUNTS_FOLD, counts_item_id
from worker.verify import counts_reading, learner_audit, reading, snapshots
from worker.verify.findings import Fault, Finding, Kind, Run
from worker.verify.queue_check import COUNTED, LONGEST_WAIT, open_items
from worker.verify.snapshots import Snapshot, Snapshots
from worker.verify.statistics_audit import (
    check_course,
    check_instructor,
    check_user,
    missing_instructor,
)
from worker.verify.sums_check import Checks, CountedCheck, Shown, check_counted_and_shown

COURSES_AT_ONCE = 20  # each is summed over all its learners
# Outbox rows whose streams are folded event by event: some ten seconds. Those of the first version of counting, which
# carried the percentage of then, may be many.
_MOST_FOLDED = 2_000


async def was_counted(database: Database) -> bool:
    """Anybody was ever counted, or was to be: without, there is nothing to compare with the records."""
    anything: Document = {}
    written = ((database.user_progress_projections, anything), (database.notifications, anything))
    asked = (*written, (database.leases, {"_id": group_name("counts", 0)}))
    with translated():
        return any([await collection.find_one(query, {"_id": 1}) for collection, query in asked])


async def check_counts(run: Run) -> None:
    """Put into the run's tally what is wrong. Only reads.

    What waits to be counted is wrong in a quiescent system; else if it is overdue and nothing is counted meanwhile.
    1. the outbox  2. learners, courses and people
    """
    refused = partial(_is_quarantined, run.database)
    async with Snapshots.opened(run, refused=refused) as taken:
        learner, check_learner = learner_audit.Learner, learner_audit.check_learner
        counted = CountedCheck(run, COUNTS, taken, learner, counts_reading.learners, check_learner)
        check = _Check(run, taken)
        await check.rows()  # 1
        await check_counted_and_shown(run, counted, check.shown)  # 2


async def _is_quarantined(database: Database, collection: str, identity: object) -> bool:
    """The server refuses this document's statistics, which is known and waits for people."""
    kind = COUNTED.get(collection)
    items = [counts_item_id(kind, identity)] if kind in ("course", "user") else []
    return bool(await open_items(database, COUNTS_FOLD, items))


@dataclass(frozen=True, slots=True)
class _Check:
    run: Run
    snapshots: Snapshots
    folded: list[str] = field(default_factory=list)
    """Outbox rows whose streams were folded to see whether what they carry was ever true."""

    async def rows(self) -> None:
        """The outbox."""
        database, tally = self.run.database, self.run.tally
        local, _ = await reading.server_times(database)
        async for page in self.snapshots.pages(database.notifications, counts_reading.notifications):
            tally.counts["notifications"] += len(page)
            for each in page:
                with tally.guard("notifications", each.row["_id"]):
                    await self._notification(each, local + LONGEST_WAIT)

    async def _notification(self, each: learner_audit.Announced, horizon: datetime) -> None:
        findings = learner_audit.audit_notification(each, horizon)
        self.run.tally.report(findings)
        if findings or not each.says_something_else or len(self.folded) >= _MOST_FOLDED:
            return
        self.folded.append(each.row["_id"])
        if not await _was_true(self.run.database, each):
            detail = f"{each.row['kind']}: what it carries was never true of its milestone"
            stream, about = each.row["stream_id"], ("notifications", each.row["_id"])
            self.run.tally.report([Finding(Kind.NOTIFICATION, Fault.DIFFERENT, stream, detail, about=about)])

    async def shown(self) -> list[Shown]:
        """Courses and people, whose documents show the statistics."""
        database, taught = self.run.database, await self._taught()

        async def courses(snapshot: Snapshot, ids: Sequence[Any]) -> Checks:
            found = await counts_reading.taught_by(snapshot, await counts_reading.courses(snapshot, ids))
            return [(each[0]["_id"], partial(check_course, *each)) for each in found]

        async def users(snapshot: Snapshot, ids: Sequence[Any]) -> Checks:
            people = await counts_reading.users(snapshot, ids, taught)
            return [(person.user["_id"], partial(check_user, person)) for person in people]

        async def instructors(snapshot: Snapshot, ids: Sequence[Any]) -> Checks:
            found = await counts_reading.instructors(snapshot, ids, taught)
            kept = {each["_id"] for each, _ in found}
            missing: Checks = [(each, partial(missing_instructor, each)) for each in ids if each not in kept]
            return [
                *((each["_id"], partial(check_instructor, each, summed)) for each, summed in found),
                *missing,
            ]

        return [
            Shown("courses", self._counted_ids(database.courses, COURSES_AT_ONCE), courses),
            Shown("users", self._counted_ids(database.users, snapshots.PAGE), users),
            Shown(INSTRUCTORS_COLLECTION, self._instructors(taught), instructors),
        ]

    async def _counted_ids(self, collection: Collection, most: int) -> AsyncIterator[list[Any]]:
        async for ids in self.snapshots.ids(collection, most):
            self.run.tally.counts[collection.name] += len(ids)
            yield ids

    async def _instructors(self, taught: Mapping[ObjectId, Sequence[Any]]) -> AsyncIterator[list[Any]]:
        """Those of whom something is kept, and those whose courses are counted without."""
        collection = self.run.database.collection(INSTRUCTORS_COLLECTION)
        async for ids in self.snapshots.ids(collection, COURSES_AT_ONCE):
            yield ids
        for some in chunks(list(taught), COURSES_AT_ONCE):
            if keys := await reading.absent(collection, some):
                yield keys

    async def _taught(self) -> Mapping[ObjectId, Sequence[Any]]:
        """By instructor the courses that name them."""
        taught: dict[ObjectId, list[Any]] = defaultdict(list)
        paths = {"instructor_id": 1, "instructor.user_id": 1}
        async for page in reading.pages(self.run.database.courses, {}, paths):
            for document in page.documents:
                if (instructor := instructor_of(document)) is not None:
                    taught[instructor].append(document["_id"])
        return taught


async def _was_true(database: Database, announced: learner_audit.Announced) -> bool:
    """Fold the stream event by event until its milestone is what the row carries.

    For the few rows whose milestone has moved since: an event that happened before it came later. True where the
    stream cannot be folded, which is a finding of its own, or where a decision to skip a version moved it.
    """
    row = announced.row
    name, carried = learner_audit.MILESTONES[row["kind"]], row["data"]
    record: Document | None = None
    if await ever_decided(database, COUNTS.source, row["stream_id"]):
        return True  # it may have been true while another event was left out
    async for page in reading.stream_pages(database, row["stream_id"]):
        for event in await with_lists(database, page.documents):
            try:
                stored = [StoredEvent.from_document(event)]
                record = fold(record, stored, "replay") if record else refold(stored, None, "replay")
            except Exception:  # whatever it is, the stream's own check has reported it
                return True
            # Rows of the first version of counting had the percentage of then.
            reached, of_then = record["milestones"][name], record["progress"]["percentage"]
            could_be = (
                (reached["percentage"], of_then) if reached and reached["at"] == carried["reached_at"] else ()
            )
            if carried["percentage"] in could_be:
                return True
    return record is None
