"""`counts`: statistics of courses and users, with what else follows from a learner's step, within one transaction.

Sums are too large to be taken each time: the difference is added where the document holds a sum, and it is rebuilt
where it holds none. Where a document is absent nothing is inserted. A marker is written instead, and again when the
document's statistics are summed: of two transactions that do not see each other, one that missed the document and one
that missed a projection, the server then ends one, and it runs again.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from bson import ObjectId
from bson.binary import Binary
from pymongo import DeleteOne, UpdateOne

from projections.counts import (
    NAMES,
    ActivityEntry,
    Counted,
    Step,
    Teaching,
    count_learner,
    course_stats,
    merged_log,
    sums_in,
    user_stats,
)
from projections.counts.learner import COUNTED_PATHS, RECORD_PATHS
from projections.counts.statistics import instructor_of
from projections.counts.teaching import INSTRUCTORS_COLLECTION, REVENUE, REVENUE_COLLECTION
from projections.kinds import StreamProjection, SumProjection
from worker.errors import Retryable
from worker.storage import reading
from worker.storage.database import Document
from worker.storage.encoding import same, with_array
from worker.storage.reading import KeptArray
from worker.watch.sums.attempt import (
    Attempt,
    Keys,
    Reason,
    RejectedWrite,
    Target,
    Write,
    concerning,
    ids_of,
)
from worker.watch.sums.changes import updated
from worker.watch.sums.conflict_markers import WriteConflictMarkers
from worker.watch.sums.counting import is_newer
from worker.watch.sums.instructors import INSTRUCTOR, Instructors
from worker.watch.sums.learners import NO_SUM, Learners
from worker.watch.sums.plan import (
    CoursePlan,
    Deltas,
    UserPlan,
    deltas_of,
    plan_courses,
    plan_users,
    stats_update,
)
from worker.watch.sums.quarantine import Quarantine, unreadable
from worker.watch.sums.rows import notifications, write_rows
from worker.watch.sums.runner import Dependencies
from worker.watch.sums.showing import Counting

_COURSE_PATHS = dict.fromkeys(("instructor_id", "instructor.user_id", "stats"), 1)
_USER_PATHS = dict.fromkeys(("stats", "activity_log"), 1)

# A document whose `stats` can take a mark; any other is written without being held.
_MARKABLE: Document = {
    "$or": [
        {"stats": {"$exists": False}},
        {"stats": {"$type": "object"}, "stats.sums": {"$exists": False}},
        {"stats.sums": {"$type": "object"}},
    ]
}
_MARK: Document = {"$inc": {"stats.sums.held": 1}}

Sums = dict[ObjectId, Counted]


class Statistics:
    """The `Showing` of `counts`.

    It writes the worker's fields of `courses.stats` and `users.stats`, `users.activity_log`, the sums of instructors,
    and rows of the outbox. A milestone older than `notify_within` when it is counted is not announced.

    `doubting`: what was counted is believed of no learner. Where it is not what follows from the record it is
    replaced, and deleted where there is no record; courses and users it is about are then summed over all.
    """

    def __init__(
        self,
        given: Dependencies,
        projection: SumProjection,
        source: StreamProjection,
        notify_within: timedelta,
        *,
        doubting: bool = False,
    ) -> None:
        self.projection = projection
        self.kinds: Mapping[str, str] = {
            "learner": source.target.collection,
            "course": "courses",
            "user": "users",
            INSTRUCTOR: INSTRUCTORS_COLLECTION,
        }
        paid = REVENUE in {each.name for each in given.database.catalogue.sums}
        if paid:
            self.kinds = {**self.kinds, REVENUE: REVENUE_COLLECTION}
        # It costs little, and readers look at one sum of money beside the other.
        self.at_once: Collection[str] = (REVENUE,)
        self.steady: Collection[str] = (INSTRUCTOR,)
        # Larger transactions hold the documents of courses and users longer, and make folds wait: a change stream
        # gives out nothing while it goes through a transaction's operations, whatever they are about. Of learners
        # they are larger while many wait (see `Counter`).
        # Each course and user named is summed over all its projections; of doubted learners those that they are a
        # part of, too.
        self.most: Mapping[str, int] = {
            "learner": 300,
            "course": 20,
            "user": 250,
            INSTRUCTOR: 20,
            REVENUE: 250,
        }
        # The record, and the server's time of the reading.
        self.paths: Mapping[str, Any] = dict.fromkeys(RECORD_PATHS, 1) | {"read_at": "$$NOW"}
        self.counted_paths: Mapping[str, Any] = {} if doubting else dict.fromkeys(COUNTED_PATHS, 1)
        self.current: Mapping[str, str] = {"rev": "source_rev", "version": "last_event_version"}
        self.quarantine = Quarantine(given, projection.name, self.kinds, by_kind=True)
        self._given, self._database = given, given.database
        self._markers = WriteConflictMarkers(given.database)
        self._instructors = Instructors(given.database, self._markers, doubting=doubting, paid=paid)
        self._notify_within = notify_within
        self._doubting = doubting

    def step(self, record: Document, known: Document | None) -> Step | None:
        """`count_learner`, for documents that somebody else may have written to."""
        step = count_learner(record, known, doubted=self._doubting)
        if step is None or (self._doubting and same(known, step.projection)):
            return None
        new = step.projection
        if not isinstance(new["user_id"], ObjectId) or not isinstance(new["course_id"], ObjectId):
            raise TypeError("a record of nobody, or of no course")
        if known is not None and not isinstance(known.get("source_rev"), int):
            raise TypeError("a projection without a revision")
        return step

    async def begin(self, attempt: Attempt) -> None:
        """Write a mark into the documents to be held: whoever writes to them now waits for our commit.

        A platform that writes to a document more often than a transaction takes would else end every one of
        them. `show` writes the sums without the mark (see `Deltas.beside`): nobody ever sees it.
        """
        for kind, collection in (("course", self._database.courses), ("user", self._database.users)):
            marks: list[tuple[Target | None, Write]] = [
                ((kind, each), UpdateOne({"_id": each, **_MARKABLE}, _MARK))
                for each in ids_of(kind, attempt.locked)
            ]
            await attempt.write(collection, marks)
        attempt.changed.clear()  # nobody ever sees the marks

    async def show(self, counting: Counting, attempt: Attempt) -> None:
        """Add the differences, rebuild what is named or cannot be added to, and put rows out.

        1. courses  2. instructors  3. users, as learners and as instructors  4. what courses say of their instructors
        5. rows of the outbox, by their keys. Documents that are cooling, and those that cannot be read, count as
        absent and are quarantined. One that was quarantined before is rebuilt if it is named, else left alone.
        """
        if self._doubting:
            await self._forget(counting, attempt)
        deltas = deltas_of(counting.steps).beside(attempt.locked)
        courses = await self._courses(deltas, attempt)  # 1
        named = ids_of("user", attempt.keys | attempt.rebuild)
        learners = Learners(self._database.user_progress_projections, attempt)
        teaching = await self._instructors.update(counting.steps, courses, named, learners, attempt)  # 2
        await self._users(deltas, teaching, named, learners, attempt)  # 3
        await self._instructors.prove(courses, teaching, attempt)  # 4
        if counting.steps:
            now = max(record["read_at"] for record in counting.records.documents)
            rows = notifications(counting.steps, now, self._notify_within)
            await write_rows(self._given, rows, attempt)  # 5

    async def _forget(self, counting: Counting, attempt: Attempt) -> None:
        """Delete what was counted of nobody, and have everything summed anew that any of it was a part of."""
        there = {document["_id"] for document in counting.records.documents}
        there |= {one.id for one in counting.records.unreadable} | counting.lost.keys()
        known, version = counting.known.items(), self.projection.version
        gone = {each for each, row in known if each not in there and not is_newer(row, version)}
        forgotten: list[tuple[Target | None, Write]] = [(None, DeleteOne({"_id": each})) for each in gone]
        await attempt.write(self._database.collection(self.projection.counted.collection), forgotten)
        stepped = {step.projection["_id"]: step.projection for step in counting.steps}
        former = [row for each, row in known if each in stepped or each in gone]
        for row in (*stepped.values(), *former):
            for kind in ("course", "user"):
                if isinstance(identity := row.get(f"{kind}_id"), ObjectId):
                    attempt.rebuild.add((kind, identity))

    async def gone(self) -> Keys:
        """Courses that are no more: their instructors no longer have them."""
        return frozenset(("course", each) for each in await self._markers.credited_courses())

    def rules(self, own: Iterable[UUID]) -> Sequence[Document]:
        """A course was paid, has another instructor, or is gone; somebody wrote to the worker's fields, or the log.

        However it was done (the platform's own enrolment may, or an ORM that saves what it loaded a minute ago). Our
        own writes come back, too: they are told by the session of our transactions, whatever they set.
        """
        by_others = {"session": {"$nin": [Binary.from_uuid(each) for each in own]}}
        return [
            {"collection": "courses", "operationType": "delete"},
            updated("courses", r"instructor_id|instructor(\.user_id)?|deleted_at"),
            {**updated("courses", r"instructor\.social_proof(\..+)?"), **by_others},
            {**updated("courses", _fields(course_stats(Counted()))), **by_others},
            {**updated("users", _fields(user_stats(Counted(), Teaching()))), **by_others},
            {"collection": INSTRUCTORS_COLLECTION, "operationType": "delete"},
            {"collection": REVENUE_COLLECTION, "operationType": {"$in": ["update", "delete"]}},
            {**updated("users", r"activity_log(\..+)?"), **by_others},
        ]

    async def _courses(self, deltas: Deltas, attempt: Attempt) -> CoursePlan:
        """1. read documents and markers  2. decide  3. sum  4. write documents  5. write markers."""
        named = ids_of("course", attempt.keys | attempt.rebuild)
        ids = deltas.courses.keys() | named
        if not ids:
            return CoursePlan()
        documents, rebuild = await self._writable("course", ids, named, _COURSE_PATHS, attempt)  # 1
        instructors = {each for each in map(instructor_of, documents.values()) if each is not None}
        credited = await self._markers.credited(ids, attempt.session, instructors=instructors)
        taught = {course: each for course, each in credited.items() if each in instructors}
        plan = plan_courses(deltas.courses, rebuild, documents, credited)  # 2
        plan = replace(plan, instructors=instructors, taught=taught)
        plan.sums.update(await self._course_sums(plan.rebuild, attempt))  # 3
        updates: dict[ObjectId, Document] = {}
        for course, sums in plan.sums.items():
            with concerning(("course", course)):
                updates[course] = stats_update(documents[course], course_stats(sums))
        await self._update("course", updates, attempt)  # 4
        marked = plan.rebuild | plan.absent | plan.credits.keys()
        await self._markers.touch("course", marked, attempt.session, taught_by=plan.credits)  # 5
        return plan

    async def _users(
        self,
        deltas: Deltas,
        teaching: Mapping[ObjectId, Teaching],
        named: Set[ObjectId],
        learners: Learners,
        attempt: Attempt,
    ) -> None:
        """1. read documents  2. decide  3. sum  4. write documents  5. write markers."""
        ids = deltas.users.keys() | deltas.enrolments.keys() | teaching.keys() | named
        if not ids:
            return
        documents, rebuild = await self._writable("user", ids, named, _USER_PATHS, attempt)  # 1
        plan = plan_users(deltas, teaching, rebuild, documents)  # 2
        entries = {
            **deltas.enrolments,
            **await self._sum_users(plan, teaching, named, learners, attempt),
        }  # 3
        updates: dict[ObjectId, Document] = {}
        for user, (learning, taught) in plan.sums.items():
            with concerning(("user", user)):
                stats = user_stats(learning, taught, self._given.revenue_currency)
                update = stats_update(documents[user], stats)
                updates[user] = _with_log(update, documents[user], entries.get(user, ()))
        await self._update("user", updates, attempt)  # 4
        await self._markers.touch("user", plan.rebuild | plan.absent, attempt.session)  # 5

    async def _writable(
        self,
        kind: str,
        ids: Set[ObjectId],
        named: Set[ObjectId],
        paths: Mapping[str, Any],
        attempt: Attempt,
    ) -> tuple[dict[ObjectId, Document], set[ObjectId]]:
        """The documents that can be read and written, and which are to be rebuilt.

        These are the ones named, and the ones that were quarantined and are gone by now. What exists and is left out
        is quarantined; where it is named because its item is due, the item stays as it is.
        """
        asked: set[Target] = {(kind, each) for each in ids}
        attempt.concerned |= asked
        documents, unread = await self._read(kind, ids, paths, attempt)
        wanted: set[Target] = {(kind, each) for each in named}
        there: set[Target] = {(kind, each) for each in documents} | unread.keys()
        quarantined = await self.quarantine.open_among(asked, attempt)
        rejected = {**{each: attempt.cooling[each] for each in there & attempt.cooling.keys()}, **unread}
        barred = rejected.keys() | ((quarantined & there) - wanted)
        attempt.concerned -= barred
        if barred & attempt.locked:
            raise Retryable("a document was quarantined by somebody else while it was held")
        attempt.rejected.update(rejected)
        moved = {each: why for each, why in rejected.items() if each not in attempt.retrying}
        news = {each: why for each, why in moved.items() if each not in quarantined or each in wanted}
        await self.quarantine.put(news, wanted, attempt.session)
        await self.quarantine.release(quarantined - barred, attempt.session)
        writable = {each: document for each, document in documents.items() if (kind, each) not in barred}
        return writable, ids_of(kind, (wanted | quarantined) - barred)

    async def _update(self, kind: str, updates: Mapping[ObjectId, Document], attempt: Attempt) -> None:
        writes: list[tuple[Target | None, Write]] = [
            ((kind, identity), UpdateOne({"_id": identity}, {"$set": update}))
            for identity, update in updates.items()
            if update
        ]
        await attempt.write(self._database.collection(self.kinds[kind]), writes)

    async def _sum_users(
        self,
        plan: UserPlan,
        teaching: Mapping[ObjectId, Teaching],
        named: Set[ObjectId],
        learners: Learners,
        attempt: Attempt,
    ) -> dict[ObjectId, list[ActivityEntry]]:
        """Put the sums of the users to be rebuilt into the plan; returns their enrolments.

        Of those `named` all that is kept of instructors is in `teaching`.
        """
        if not plan.rebuild:
            return {}
        learned = await learners.whole(plan.rebuild)
        taught = {**await self._instructors.kept(plan.rebuild - teaching.keys() - named, attempt), **teaching}
        for user in plan.rebuild:
            learning = sum((each.counted for each in learned[user]), Counted())
            plan.sums[user] = (learning, taught.get(user))
        return {
            user: [each.entry for each in some if each.entry is not None] for user, some in learned.items()
        }

    async def _course_sums(self, courses: Set[ObjectId], attempt: Attempt) -> Sums:
        if not courses:
            return {}
        group: Document = {"_id": "$course_id", **{name: {"$sum": f"$counted.{name}"} for name in NAMES}}
        pipeline = [{"$match": {"course_id": {"$in": list(courses)}}}, {"$group": group}]
        projections = self._database.user_progress_projections
        taken = (await reading.aggregate(projections, pipeline, session=attempt.session)).through(_summed)
        for one in taken.unreadable:
            if isinstance(one.id, ObjectId) and one.id in courses:
                raise RejectedWrite(("course", one.id), Reason("Unreadable", NO_SUM))
        sums = {course: counted for course, counted in taken.values if course in courses}
        return {course: sums.get(course, Counted()) for course in courses}

    async def _read(
        self, kind: str, ids: Iterable[ObjectId], paths: Mapping[str, Any], attempt: Attempt
    ) -> tuple[dict[ObjectId, Document], dict[Target, Reason]]:
        """The documents that can be read, and why the others cannot."""
        collection = self._database.collection(self.kinds[kind])
        found = await attempt.read(collection, ids, paths, kept=("activity_log",))
        return {document["_id"]: document for document in found.documents}, unreadable(kind, found.unreadable)


def _fields(stats: Mapping[str, Any]) -> str:
    """`stats` as a whole, or one of the worker's fields of it, or a part of one."""
    return rf"stats(\.({'|'.join(sorted(stats))})(\..+)?)?"


def _summed(row: Mapping[str, Any]) -> tuple[ObjectId, Counted]:
    """A course and the sum of its learners, which are all integers unless somebody else wrote to one."""
    sums = sums_in(row)
    if sums is None or not isinstance(row["_id"], ObjectId):
        raise ValueError("a sum of something else than our integers")
    return row["_id"], sums


def _with_log(update: Document, user: Mapping[str, Any], entries: Iterable[ActivityEntry]) -> Document:
    """The update with the new log in it, in which everybody else's entries have the bytes they had."""
    stored = user.get("activity_log")
    log = merged_log(stored, entries)
    if not log or log == stored:
        return update
    if isinstance(stored, KeptArray):
        return with_array(update, "activity_log", stored.encoded(log))
    return {**update, "activity_log": log}
