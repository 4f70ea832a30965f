"""Checks that what was counted is what the records say; right while the worker counts.

Each page is read in one snapshot transaction, in which record, projection, outbox, billing and statistics are of
one moment. Only a document the platform has just written may have to wait some seconds for its statistics.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeVar

from bson import ObjectId

from projections.counts.statistics import instructor_of
from worker.chunks import chunks
from worker.errors import Retryable
from worker.storage.database import Collection, Database
from worker.storage.errors import translated
from worker.storage.leases import group_name
from worker.storage.reading import Unreadable, senseless
from worker.storage.transactions import Session, Transactions
from worker.timing import Clock
from worker.verify import reading
from worker.verify.announcements import was_true
from worker.verify.billing_audit import judge_billing
from worker.verify.counts_reading import Snapshot
from worker.verify.findings import Finding, FindingKind, Tally
from worker.verify.learner_audit import Judged, Learner, judge_learner
from worker.verify.leases_check import live_version
from worker.verify.outbox_audit import Announced, judge_notification
from worker.verify.queue_check import LONGEST_WAIT
from worker.verify.statistics_audit import judge_course, judge_user

T = TypeVar("T")
Taught = Mapping[ObjectId, Sequence[Any]]
Suspect = tuple[Literal["course", "user"], Any]

PAGE = 1_000  # learners, rows or users: some tenths of a second in one transaction
COURSES_AT_ONCE = 20  # each is summed over all its learners
# A document the platform has just written has its statistics within 5 s; a busy machine may take longer.
SECOND_LOOK_S = 10.0
_ATTEMPTS = 5  # a snapshot can be lost to an election or to a new index
# Learners that are looked at again, of those that wait for an old event; enough to tell whether anybody counts.
_LATE_KEPT = 10_000
# Outbox rows whose streams are folded event by event: some ten seconds. Those of the first version of counting, which
# carried the percentage of then, may be many.
_MOST_ASKED = 2_000


async def was_counted(database: Database) -> bool:
    """Anybody was ever counted, or was to be: without, there is nothing to hold against the records."""
    with translated():
        for collection, query in (
            (database.user_progress_projections, {}),
            (database.notifications, {}),
            (database.leases, {"_id": group_name("counts", 0)}),
        ):
            if await collection.find_one(query, {"_id": 1}) is not None:
                return True
    return False


async def check_counts(
    database: Database,
    tally: Tally,
    clock: Clock,
    *,
    settled: bool,
    overdue_before: datetime,
) -> None:
    """Put into `tally` what is wrong. Only reads.

    What waits to be counted is wrong with `settled`; else if it waits for an event from before `overdue_before`, and
    nothing is counted meanwhile.
    1. learners, outbox and billing  2. courses and people  3. a second look at those that seem wrong
    """
    transactions = Transactions(database.client)
    check = _Check(database, transactions, tally, settled, overdue_before)
    try:
        await check.learners()  # 1
        await check.rows()
        suspects = await check.statistics()  # 2
        if (suspects or check.late) and not settled:
            await clock.sleep(SECOND_LOOK_S)
        await check.second_look(suspects)  # 3
    finally:
        await transactions.close()


@dataclass(frozen=True, slots=True)
class _Check:
    database: Database
    transactions: Transactions
    tally: Tally
    settled: bool
    overdue_before: datetime
    late: dict[Any, tuple[Any, Any]] = field(default_factory=dict)
    """Learners that have waited for long, with the revisions of their record and projection."""
    asked: list[str] = field(default_factory=list)
    """Outbox rows whose streams were folded to see whether what they carry was ever true."""

    async def learners(self) -> None:
        counts = self.tally.counts
        served = await live_version(self.database, "counts")
        async for page in self._pages(self.database.user_progress, Snapshot.learners):
            counts["projections"] += sum(learner.projection is not None for learner in page)
            for learner in page:
                self._learner("user_progress", learner, served)
        async for page in self._pages(self.database.user_progress_projections, Snapshot.uncovered):
            counts["projections"] += len(page)
            for learner in page:
                self._learner("user_progress_projections", learner, served)

    def _learner(self, collection: str, learner: Learner, served: int) -> None:
        identity = (learner.record or learner.projection or {}).get("_id")
        judged = self._guarded(collection, identity, judge_learner, learner, served) or Judged()
        self.tally.counts["uncounted"] += judged.late is not None
        self.tally.counts["other_counts_version"] += judged.other_version
        self._report(judged)
        if self._is_overdue(judged) and len(self.late) < _LATE_KEPT and isinstance(identity, ObjectId):
            self.late[identity] = learner.revisions

    async def rows(self) -> None:
        """The outbox, and billing."""
        local, _ = await reading.server_times(self.database)
        async for page in self._pages(self.database.notifications, Snapshot.notifications):
            self.tally.counts["notifications"] += len(page)
            for each in page:
                await self._row(each, local + LONGEST_WAIT)
        async for billed in self._pages(self.database.billing_transactions, Snapshot.billing):
            self.tally.counts["billing_transactions"] += len(billed)
            for row, event in billed:
                faults = self._guarded("billing_transactions", row["_id"], judge_billing, row, event)
                self.tally.report(faults or ())

    async def _row(self, each: Announced, horizon: datetime) -> None:
        faults = self._guarded("notifications", each.row["_id"], judge_notification, each, horizon)
        self.tally.report(faults or ())
        if faults == [] and self._is_asked(each) and not await was_true(self.database, each):
            detail = f"{each.row['kind']}: what it carries was never true of its milestone"
            self.tally.report([Finding(FindingKind.NOTIFICATION_DIFFERENT, each.row["stream_id"], detail)])

    def _is_asked(self, each: Announced) -> bool:
        """The row says something else than its record, and the answer is worth its time: so many a run."""
        if not each.says_something_else or len(self.asked) >= _MOST_ASKED:
            return False
        self.asked.append(each.row["_id"])
        return True

    async def statistics(self) -> list[Suspect]:
        """Courses and people whose documents are not what is counted, or show nothing yet."""
        suspects: list[Suspect] = []
        taught = await self._taught()
        async for some in self._ids(self.database.courses, COURSES_AT_ONCE):
            self.tally.counts["courses"] += len(some)
            for document, judged in await self._judged_courses(some):
                suspects += [("course", document)] if judged.findings or judged.late else []
        async for users in self._ids(self.database.users, PAGE):
            self.tally.counts["users"] += len(users)
            for document, judged in await self._judged_users(users, taught):
                suspects += [("user", document)] if judged.findings or judged.late else []
        return suspects

    async def second_look(self, suspects: Sequence[Suspect]) -> None:
        """Report what is wrong now, unless the server is known to refuse the document's statistics."""
        await self._late_again()
        taught = await self._taught() if suspects else {}
        for kind, identity in suspects:
            judge = self._judged_courses([identity]) if kind == "course" else None
            for _, judged in await (judge or self._judged_users([identity], taught)):
                await self._judge_again(kind, identity, judged)

    async def _late_again(self) -> None:
        """Learners that still wait are findings, unless one of them was counted meanwhile: then their turn comes."""
        ids = list(self.late)
        again: list[Judged] = []
        for some in chunks(ids, PAGE):
            for learner in await self._read(_learners(some)):
                if learner.revisions != self.late[(learner.record or {}).get("_id")]:
                    return
                again += filter(None, [self._guarded("user_progress", None, judge_learner, learner)])
        self.tally.report(judged.late for judged in again if judged.late is not None)

    async def _judge_again(self, kind: str, identity: object, judged: Judged) -> None:
        if not judged.findings and not judged.late:
            return
        if await self._refused(kind, identity):
            self.tally.counts["statistics_refused"] += 1
            return
        self.tally.counts["statistics_missing"] += judged.late is not None
        self._report(judged)
        if self._is_overdue(judged) and judged.late is not None:
            self.tally.report([judged.late])

    async def _refused(self, kind: str, identity: object) -> bool:
        return await self._read(lambda shown: shown.refused(kind, identity))

    async def _judged_courses(self, ids: Sequence[Any]) -> list[tuple[Any, Judged]]:
        read = await self._read(lambda shown: shown.courses(ids))
        judged = ((it["_id"], self._guarded("courses", it["_id"], judge_course, it, of)) for it, of in read)
        return [(identity, each) for identity, each in judged if each is not None]

    async def _judged_users(self, ids: Sequence[Any], taught: Taught) -> list[tuple[Any, Judged]]:
        people = await self._read(lambda shown: shown.users(ids, taught))
        judged = (
            (each.user["_id"], self._guarded("users", each.user["_id"], judge_user, each)) for each in people
        )
        return [(identity, each) for identity, each in judged if each is not None]

    async def _taught(self) -> Taught:
        """By instructor the courses that name them."""
        taught: dict[ObjectId, list[Any]] = defaultdict(list)
        async for page in reading.course_pages(self.database):
            for document in page.documents:
                instructor = instructor_of(document)
                if instructor is not None:
                    taught[instructor].append(document["_id"])
        return taught

    async def _ids(self, collection: Collection, most: int) -> AsyncIterator[list[Any]]:
        async for ids, unreadable in reading.id_pages(collection, most):
            self.tally.unreadable(unreadable)
            if ids:
                yield ids

    def _report(self, judged: Judged) -> None:
        self.tally.report(judged.findings)
        if self.settled and judged.late is not None:
            self.tally.report([judged.late])

    def _is_overdue(self, judged: Judged) -> bool:
        """Waits for long, on a system that is not known to be at rest."""
        since = judged.since if judged.late is not None and not self.settled else None
        return isinstance(since, datetime) and since < self.overdue_before

    def _guarded(
        self, collection: str, identity: object, judge: Callable[..., T], *arguments: Any
    ) -> T | None:
        """What a judgement says; None, and a finding, where a document makes none possible."""
        try:
            judged = judge(*arguments)
            return list(judged) if isinstance(judged, Iterator) else judged  # type: ignore[return-value]
        except Exception as error:  # one document's content: the others are still checked
            self.tally.unreadable([senseless(collection, identity, error)])
            return None

    async def _pages(
        self, collection: Collection, read: Callable[[Snapshot, Sequence[Any]], Awaitable[list[T]]]
    ) -> AsyncIterator[list[T]]:
        """Page after page, each of one moment."""
        async for ids in self._ids(collection, PAGE):

            async def of_these(shown: Snapshot, ids: Sequence[Any] = ids) -> list[T]:
                return await read(shown, ids)

            yield await self._read(of_these)

    async def _read(self, work: Callable[[Snapshot], Awaitable[T]]) -> T:
        """One transaction; repeated when the server could not keep its snapshot."""

        async def within(session: Session) -> tuple[T, Snapshot]:
            shown = Snapshot(self.database, session)
            return await work(shown), shown

        for _ in range(_ATTEMPTS - 1):
            try:
                result, shown = await self.transactions.run(within)
                break
            except Retryable:
                continue
        else:
            result, shown = await self.transactions.run(within)
        for each in shown.unreadable:
            await self._unreadable(each)
        return result

    async def _unreadable(self, document: Unreadable) -> None:
        """A finding, unless it is known that the document of others has no statistics, and waits for people."""
        kind = {"courses": "course", "users": "user"}.get(document.collection)
        if kind is not None and await self._refused(kind, document.name):
            self.tally.counts["statistics_refused"] += 1
        else:
            self.tally.unreadable([document])


def _learners(ids: Sequence[Any]) -> Callable[[Snapshot], Awaitable[list[Learner]]]:
    return lambda shown: shown.learners(ids)
