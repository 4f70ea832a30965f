"""Checks that what was counted is what the records say; right while the worker counts.

Each batch is read in one snapshot transaction, in which record, projection, outbox, billing and statistics are of
one moment. Only a document the platform has just written may have to wait some seconds for its statistics.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from bson import ObjectId

from worker.errors import Retryable
from worker.replay.counts_audit import (
    Judged,
    instructor_of,
    judge_billing,
    judge_course,
    judge_learner,
    judge_notification,
    judge_user,
)
from worker.replay.counts_reading import Snapshot
from worker.replay.verification import Tally
from worker.storage.database import Database
from worker.storage.errors import translated
from worker.storage.transactions import Session, Transactions
from worker.timing import Clock

T = TypeVar("T")
Taught = Mapping[ObjectId, Sequence[ObjectId]]
Suspect = tuple[Literal["course", "user"], ObjectId]

PAGE = 1_000  # learners, rows or users: some tenths of a second in one transaction
COURSES_AT_ONCE = 20  # each is summed over all its learners
# A document the platform has just written has its statistics within 5 s; a busy machine may take longer.
SECOND_LOOK_S = 10.0
_ATTEMPTS = 5  # a snapshot can be lost to an election or to a new index
_INSTRUCTOR = {"instructor_id": 1, "instructor.user_id": 1}


async def was_counted(database: Database) -> bool:
    """Anybody was ever counted: without, there is nothing to hold against the records."""
    with translated():
        return await database.user_progress_projections.find_one({}, {"_id": 1}) is not None


async def check_counts(database: Database, tally: Tally, clock: Clock, *, settled: bool) -> None:
    """Put into `tally` what is wrong; with `settled` also what waits to be counted. Only reads.

    1. learners, outbox and billing  2. courses and people  3. a second look at those that seem wrong
    """
    transactions = Transactions(database.client)
    check = _Check(database, transactions, tally, settled)
    try:
        await check.learners()  # 1
        await check.rows()
        suspects = await check.statistics()  # 2
        if suspects and not settled:
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

    async def learners(self) -> None:
        counts = self.tally.counts
        async for page in self._pages(Snapshot.learners):
            counts["projections"] += sum(learner.projection is not None for learner in page)
            for judged in map(judge_learner, page):
                counts["uncounted"] += judged.late is not None
                counts["other_counts_version"] += judged.other_version
                self._report(judged)

    async def rows(self) -> None:
        async for page in self._pages(Snapshot.notifications):
            self.tally.counts["notifications"] += len(page)
            for row, projection in page:
                self.tally.report(judge_notification(row, projection))
        async for billed in self._pages(Snapshot.billing):
            self.tally.counts["billing_transactions"] += len(billed)
            for row, event in billed:
                self.tally.report(judge_billing(row, event))

    async def statistics(self) -> list[Suspect]:
        """Courses and people whose documents are not what is counted, or show nothing yet."""
        suspects: list[Suspect] = []
        courses, taught = await self._courses_and_taught()
        self.tally.counts["courses"] += len(courses)
        for some in _chunks(courses, COURSES_AT_ONCE):
            for document, judged in await self._judged_courses(some):
                suspects += [("course", document)] if judged.findings or judged.late else []
        async for users in self._user_ids():
            self.tally.counts["users"] += len(users)
            for document, judged in await self._judged_users(users, taught):
                suspects += [("user", document)] if judged.findings or judged.late else []
        return suspects

    async def second_look(self, suspects: Sequence[Suspect]) -> None:
        """Report what is wrong now, unless the server is known to refuse the document's statistics."""
        if not suspects:
            return
        _, taught = await self._courses_and_taught()
        for kind, identity in suspects:
            judge = self._judged_courses([identity]) if kind == "course" else None
            for _, judged in await (judge or self._judged_users([identity], taught)):
                await self._judge_again(kind, identity, judged)

    async def _judge_again(self, kind: str, identity: ObjectId, judged: Judged) -> None:
        if not judged.findings and not judged.late:
            return
        if await self._read(lambda shown: shown.refused(kind, identity)):
            self.tally.counts["statistics_refused"] += 1
            return
        self.tally.counts["statistics_missing"] += judged.late is not None
        self._report(judged)

    async def _judged_courses(self, ids: Sequence[ObjectId]) -> list[tuple[ObjectId, Judged]]:
        read = await self._read(lambda shown: shown.courses(ids))
        return [(document["_id"], judge_course(document, counted)) for document, counted in read]

    async def _judged_users(self, ids: Sequence[ObjectId], taught: Taught) -> list[tuple[ObjectId, Judged]]:
        read = await self._read(lambda shown: shown.users(ids, taught))
        return [(person.user["_id"], judge_user(person)) for person in read]

    async def _courses_and_taught(self) -> tuple[list[ObjectId], Taught]:
        """All courses, and by instructor those that name them."""
        courses: list[ObjectId] = []
        taught: dict[ObjectId, list[ObjectId]] = defaultdict(list)
        with translated():
            async for document in self.database.courses.find({}, _INSTRUCTOR):
                courses.append(document["_id"])
                instructor = instructor_of(document)
                if instructor is not None:
                    taught[instructor].append(document["_id"])
        return courses, taught

    async def _user_ids(self) -> AsyncIterator[list[ObjectId]]:
        after: dict[str, Any] = {}
        while True:
            cursor = self.database.users.find(after, {"_id": 1}).sort("_id", 1).limit(PAGE)
            with translated():
                page = [document["_id"] for document in await cursor.to_list(None)]
            yield page
            if len(page) < PAGE:
                return
            after = {"_id": {"$gt": page[-1]}}

    def _report(self, judged: Judged) -> None:
        self.tally.report(judged.findings)
        if self.settled and judged.late is not None:
            self.tally.report([judged.late])

    async def _pages(
        self, read: Callable[[Snapshot, Any, int], Awaitable[tuple[list[T], Any]]]
    ) -> AsyncIterator[list[T]]:
        """Page after page, each of one moment."""

        async def behind(last: object) -> tuple[list[T], Any]:
            return await self._read(lambda shown: read(shown, last, PAGE))

        last = None
        while True:
            page, last = await behind(last)
            yield page
            if last is None:
                return

    async def _read(self, work: Callable[[Snapshot], Awaitable[T]]) -> T:
        """One transaction; repeated when the server could not keep its snapshot."""

        async def within(session: Session) -> T:
            return await work(Snapshot(self.database, session))

        for _ in range(_ATTEMPTS - 1):
            try:
                return await self.transactions.run(within)
            except Retryable:
                continue
        return await self.transactions.run(within)


def _chunks(ids: Sequence[ObjectId], size: int) -> Iterator[Sequence[ObjectId]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
