"""Checks that what was counted is what the records say; right while the worker counts.

Each page is read in one snapshot transaction, in which record, projection, outbox, billing and statistics are of
one moment. Only a document the platform has just written may have to wait some seconds for its statistics.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Literal, TypeVar

from bson import ObjectId

from projections.counts.statistics import instructor_of
from worker.chunks import chunks
from worker.errors import Retryable
from worker.storage.database import Collection, Database
from worker.storage.errors import translated
from worker.storage.leases import group_name
from worker.storage.reading import Unreadable
from worker.storage.transactions import Session, Transactions
from worker.timing import Clock
from worker.verify import reading
from worker.verify.announcements import was_true
from worker.verify.billing_audit import audit_billing
from worker.verify.counts_reading import Snapshot
from worker.verify.findings import CheckResult, Fault, Finding, Grace, Kind, Tally
from worker.verify.learner_audit import COUNTS, Learner, check_learner
from worker.verify.leases_check import live_version
from worker.verify.outbox_audit import Announced, audit_notification
from worker.verify.queue_check import LONGEST_WAIT
from worker.verify.statistics_audit import check_course, check_user

T = TypeVar("T")
Taught = Mapping[ObjectId, Sequence[Any]]
Target = Literal["course", "user"]
Suspect = tuple[Target, Any]

PAGE = 1_000  # learners, rows or users: some tenths of a second in one transaction
COURSES_AT_ONCE = 20  # each is summed over all its learners
# A document the platform has just written has its statistics within 5 s; a busy machine may take longer.
SECOND_LOOK_S = 10.0
_ATTEMPTS = 5  # a snapshot can be lost to an election or to a new index
# Learners that are looked at again, of those that wait for an old event; enough to tell whether anybody counts.
_OVERDUE_KEPT = 10_000
# Outbox rows whose streams are folded event by event: some ten seconds. Those of the first version of counting, which
# carried the percentage of then, may be many.
_MOST_FOLDED = 2_000


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


async def check_counts(database: Database, tally: Tally, clock: Clock, grace: Grace) -> None:
    """Put into `tally` what is wrong. Only reads.

    What waits to be counted is wrong in a quiescent system; else if it is overdue and nothing is counted meanwhile.
    1. learners, outbox and billing  2. courses and people  3. a second look at those that seem wrong
    """
    transactions = Transactions(database.client)
    check = _Check(database, transactions, tally, grace)
    try:
        await check.learners()  # 1
        await check.rows()
        suspects = await check.statistics()  # 2
        if (suspects or check.overdue) and not grace.quiescent:
            await clock.sleep(SECOND_LOOK_S)
        await check.second_look(suspects)  # 3
    finally:
        await transactions.close()


@dataclass(frozen=True, slots=True)
class _Check:
    database: Database
    transactions: Transactions
    tally: Tally
    grace: Grace
    overdue: dict[Any, tuple[Any, Any]] = field(default_factory=dict)
    """Learners that have waited for long, with the revisions of their record and projection."""
    folded: list[str] = field(default_factory=list)
    """Outbox rows whose streams were folded to see whether what they carry was ever true."""

    async def learners(self) -> None:
        served = await live_version(self.database, "counts")
        records, projections = self.database.user_progress, self.database.user_progress_projections
        for collection, read in ((records, Snapshot.learners), (projections, Snapshot.uncovered)):
            async for page in self._pages(collection, read):
                counted = sum(learner.projection is not None for learner in page)
                self.tally.by_projection[COUNTS].documents += counted
                for learner in page:
                    self._learner(collection.name, learner, served)

    def _learner(self, collection: str, learner: Learner, served: int) -> None:
        identity = (learner.record or learner.projection or {}).get("_id")
        with self.tally.guard(collection, identity):
            result = check_learner(learner, served)
            self.tally.by_projection[COUNTS].behind += result.waiting is not None
            self.tally.by_projection[COUNTS].other_version += result.other_version
            self._report(result)
            if (
                self._is_overdue(result)
                and len(self.overdue) < _OVERDUE_KEPT
                and isinstance(identity, ObjectId)
            ):
                self.overdue[identity] = learner.revisions

    async def rows(self) -> None:
        """The outbox, and billing."""
        local, _ = await reading.server_times(self.database)
        async for page in self._pages(self.database.notifications, Snapshot.notifications):
            self.tally.counts["notifications"] += len(page)
            for each in page:
                with self.tally.guard("notifications", each.row["_id"]):
                    await self._notification(each, local + LONGEST_WAIT)
        async for billed in self._pages(self.database.billing_transactions, Snapshot.billing):
            self.tally.counts["billing_transactions"] += len(billed)
            for row, event in billed:
                with self.tally.guard("billing_transactions", row["_id"]):
                    self.tally.report(audit_billing(row, event))

    async def _notification(self, each: Announced, horizon: datetime) -> None:
        findings = audit_notification(each, horizon)
        self.tally.report(findings)
        if findings or not each.says_something_else or len(self.folded) >= _MOST_FOLDED:
            return
        self.folded.append(each.row["_id"])
        if not await was_true(self.database, each):
            detail = f"{each.row['kind']}: what it carries was never true of its milestone"
            self.tally.report([Finding(Kind.NOTIFICATION, Fault.DIFFERENT, each.row["stream_id"], detail)])

    async def statistics(self) -> list[Suspect]:
        """Courses and people whose documents are not what is counted, or show nothing yet."""
        suspects: list[Suspect] = []
        taught = await self._taught()
        targets: tuple[tuple[Target, Collection, int], ...] = (
            ("course", self.database.courses, COURSES_AT_ONCE),
            ("user", self.database.users, PAGE),
        )
        for kind, collection, most in targets:
            async for ids in self._ids(collection, most):
                self.tally.counts[f"{kind}s"] += len(ids)
                results = await self._results(kind, ids, taught)
                suspects += [(kind, identity) for identity, each in results if each.findings or each.waiting]
        return suspects

    async def second_look(self, suspects: Sequence[Suspect]) -> None:
        """Report what is wrong now, unless the server is known to refuse the document's statistics."""
        await self._overdue_again()
        taught = await self._taught() if suspects else {}
        for kind, identity in suspects:
            for _, result in await self._results(kind, [identity], taught):
                await self._report_statistics(kind, identity, result)

    async def _overdue_again(self) -> None:
        """Learners that still wait are findings, unless one of them was counted meanwhile: then their turn comes."""
        waiting: list[Finding | None] = []
        for some in chunks(list(self.overdue), PAGE):
            for learner in await self._read(partial(Snapshot.learners, ids=some)):
                if learner.revisions != self.overdue[(learner.record or {}).get("_id")]:
                    return
                with self.tally.guard("user_progress", None):
                    waiting.append(check_learner(learner).waiting)
        self.tally.report(waiting)

    async def _report_statistics(self, kind: Target, identity: object, result: CheckResult) -> None:
        if not result.findings and not result.waiting:
            return
        if await self._is_quarantined(kind, identity):
            self.tally.counts["statistics_refused"] += 1
            return
        self.tally.counts["statistics_missing"] += result.waiting is not None
        self._report(result)
        if self._is_overdue(result):
            self.tally.report([result.waiting])

    async def _is_quarantined(self, kind: Target, identity: object) -> bool:
        return await self._read(partial(Snapshot.is_quarantined, kind=kind, identity=identity))

    async def _results(
        self, kind: Target, ids: Sequence[Any], taught: Taught
    ) -> list[tuple[Any, CheckResult]]:
        """What the check of each document says; one of which nothing can be said is a finding and left out."""
        checks: list[tuple[Any, Callable[[], CheckResult]]]
        if kind == "course":
            courses = await self._read(partial(Snapshot.courses, ids=ids))
            checks = [(course["_id"], partial(check_course, course, counted)) for course, counted in courses]
        else:
            people = await self._read(partial(Snapshot.users, ids=ids, taught=taught))
            checks = [(person.user["_id"], partial(check_user, person)) for person in people]
        results: list[tuple[Any, CheckResult]] = []
        for identity, check in checks:
            with self.tally.guard(f"{kind}s", identity):
                results.append((identity, check()))
        return results

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

    def _report(self, result: CheckResult) -> None:
        self.tally.report(result.findings)
        if self.grace.quiescent:
            self.tally.report([result.waiting])

    def _is_overdue(self, result: CheckResult) -> bool:
        return result.waiting is not None and self.grace.is_overdue(result.waiting.since)

    async def _pages(
        self, collection: Collection, read: Callable[..., Awaitable[list[T]]]
    ) -> AsyncIterator[list[T]]:
        """Page after page, each of one moment."""
        async for ids in self._ids(collection, PAGE):
            yield await self._read(partial(read, ids=ids))

    async def _read(self, work: Callable[[Snapshot], Awaitable[T]]) -> T:
        """One transaction; repeated when the server could not keep its snapshot."""

        async def within(session: Session) -> tuple[T, Snapshot]:
            shown = Snapshot(self.database, session)
            return await work(shown), shown

        for attempts_left in reversed(range(_ATTEMPTS)):
            try:
                result, shown = await self.transactions.run(within)
                break
            except Retryable:
                if not attempts_left:
                    raise
        for each in shown.unreadable:
            await self._unreadable(each)
        return result

    async def _unreadable(self, document: Unreadable) -> None:
        """A finding, unless it is known that the document of others has no statistics, and waits for people."""
        kinds: Mapping[str, Target] = {"courses": "course", "users": "user"}
        kind = kinds.get(document.collection)
        if kind is not None and await self._is_quarantined(kind, document.name):
            self.tally.counts["statistics_refused"] += 1
        else:
            self.tally.unreadable([document])
