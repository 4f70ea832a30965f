"""Checks that what was counted is what the records say; right while the worker counts.

Each page is read in one snapshot transaction, in which record, projection, outbox, billing and statistics are of
one time. Only a document the platform has just written may have to wait some seconds for its statistics.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Literal

from bson import ObjectId

from projections.counts.projection import COUNTS
from projections.counts.statistics import instructor_of
from worker.storage.database import Collection, Database
from worker.storage.errors import translated
from worker.storage.leases import group_name
from worker.storage.reading import Unreadable
from worker.storage.transactions import Transactions
from worker.timing import Clock
from worker.verify import reading, snapshots
from worker.verify.announcements import was_true
from worker.verify.billing_audit import audit_billing
from worker.verify.counts_reading import CountsSnapshot
from worker.verify.findings import CheckResult, Fault, Finding, Grace, Kind, Tally
from worker.verify.learner_audit import check_learner
from worker.verify.outbox_audit import Announced, audit_notification
from worker.verify.queue_check import LONGEST_WAIT
from worker.verify.snapshots import Snapshots
from worker.verify.statistics_audit import check_course, check_user
from worker.verify.sums_check import SECOND_LOOK_S, CountedCheck

Taught = Mapping[ObjectId, Sequence[Any]]
Target = Literal["course", "user"]
Suspect = tuple[Target, Any]

COURSES_AT_ONCE = 20  # each is summed over all its learners
# Outbox rows whose streams are folded event by event: some ten seconds. Those of the first version of counting, which
# carried the percentage of then, may be many.
_MOST_FOLDED = 2_000


async def was_counted(database: Database) -> bool:
    """Anybody was ever counted, or was to be: without, there is nothing to compare with the records."""
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
    check = _Check(database, tally, grace, Transactions(database.client))
    counted = CountedCheck(
        database,
        COUNTS,
        check.snapshots,
        tally,
        grace,
        CountsSnapshot.learners,
        CountsSnapshot.uncovered,
        check_learner,
    )
    try:
        await counted.run()  # 1
        await check.rows()
        suspects = await check.statistics()  # 2
        if (suspects or counted.overdue) and not grace.quiescent:
            await clock.sleep(SECOND_LOOK_S)
        await counted.second_look()  # 3
        await check.second_look(suspects)
    finally:
        await check.transactions.close()


@dataclass(frozen=True, slots=True)
class _Check:
    database: Database
    tally: Tally
    grace: Grace
    transactions: Transactions
    folded: list[str] = field(default_factory=list)
    """Outbox rows whose streams were folded to see whether what they carry was ever true."""

    @property
    def snapshots(self) -> Snapshots[CountsSnapshot]:
        return Snapshots(self.database, self.tally, CountsSnapshot, self._unreadable, self.transactions)

    async def rows(self) -> None:
        """The outbox, and billing."""
        local, _ = await reading.server_times(self.database)
        async for page in self.snapshots.pages(self.database.notifications, CountsSnapshot.notifications):
            self.tally.counts["notifications"] += len(page)
            for each in page:
                with self.tally.guard("notifications", each.row["_id"]):
                    await self._notification(each, local + LONGEST_WAIT)
        async for billed in self.snapshots.pages(self.database.billing_transactions, CountsSnapshot.billing):
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
            ("user", self.database.users, snapshots.PAGE),
        )
        for kind, collection, most in targets:
            async for ids in self.snapshots.ids(collection, most):
                self.tally.counts[f"{kind}s"] += len(ids)
                results = await self._results(kind, ids, taught)
                suspects += [(kind, identity) for identity, each in results if each.findings or each.waiting]
        return suspects

    async def second_look(self, suspects: Sequence[Suspect]) -> None:
        """Report what is wrong now, unless the server is known to refuse the document's statistics."""
        taught = await self._taught() if suspects else {}
        for kind, identity in suspects:
            for _, result in await self._results(kind, [identity], taught):
                await self._report_statistics(kind, identity, result)

    async def _report_statistics(self, kind: Target, identity: object, result: CheckResult) -> None:
        if not result.findings and not result.waiting:
            return
        if await self._is_quarantined(kind, identity):
            self.tally.counts["statistics_refused"] += 1
            return
        self.tally.counts["statistics_missing"] += result.waiting is not None
        self.tally.report_result(result, self.grace, twice=True)

    async def _is_quarantined(self, kind: Target, identity: object) -> bool:
        return await self.snapshots.read(partial(CountsSnapshot.is_quarantined, kind=kind, identity=identity))

    async def _results(
        self, kind: Target, ids: Sequence[Any], taught: Taught
    ) -> list[tuple[Any, CheckResult]]:
        """The result of each document's check; a document that cannot be checked is a finding, and left out."""
        checks: list[tuple[Any, Callable[[], CheckResult]]]
        if kind == "course":
            courses = await self.snapshots.read(partial(CountsSnapshot.courses, ids=ids))
            checks = [(course["_id"], partial(check_course, course, counted)) for course, counted in courses]
        else:
            people = await self.snapshots.read(partial(CountsSnapshot.users, ids=ids, taught=taught))
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

    async def _unreadable(self, document: Unreadable) -> None:
        """A finding, unless it is known that the document of others has no statistics, and waits for people."""
        kinds: Mapping[str, Target] = {"courses": "course", "users": "user"}
        kind = kinds.get(document.collection)
        if kind is not None and await self._is_quarantined(kind, document.name):
            self.tally.counts["statistics_refused"] += 1
        else:
            self.tally.unreadable([document])
