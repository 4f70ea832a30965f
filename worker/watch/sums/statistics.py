"""Statistics of courses and users within one transaction: read, decide, write; nothing in between can change.

Where a document is absent nothing is inserted. A marker is written instead, and again when the document's
statistics are summed: of two transactions that do not see each other, one that missed the document and one that
missed a projection, the server then ends one, and it runs again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId
from pymongo import UpdateOne

from projections.counts import (
    LEARNING,
    NAMES,
    TEACHING,
    ActivityEntry,
    Counted,
    course_stats,
    merged_log,
    sums_in,
    user_stats,
)
from worker.errors import Retryable
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.encoding import with_array
from worker.storage.reading import KeptArray
from worker.storage.transactions import Session
from worker.watch.sums.conflict_markers import WriteConflictMarkers
from worker.watch.sums.plan import (
    CoursePlan,
    Deltas,
    Kind,
    Target,
    UserPlan,
    plan_courses,
    plan_users,
    stats_update,
    taught_before,
)
from worker.watch.sums.quarantine import Quarantine, Reason, Rejections, unreadable
from worker.watch.sums.reading import Allowance
from worker.watch.sums.writing import RejectedWrite, Write, concerning, write_each

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
_NO_SUM = "a projection cannot be added up"

Sums = dict[ObjectId, Counted]


class Statistics:
    """Writes the worker's fields of `courses.stats`, `users.stats` and `users.activity_log`.

    `concerned` are the documents that the last transaction read in order to write them.
    """

    def __init__(self, database: Database, quarantine: Quarantine) -> None:
        self._database = database
        self._markers = WriteConflictMarkers(database)
        self._quarantine = quarantine
        self._locked: frozenset[Target] = frozenset()
        self.concerned: set[Target] = set()

    async def lock(self, targets: Iterable[Target], session: Session) -> None:
        """Write a mark into these documents first of all: whoever writes to them now waits for our commit.

        A platform that writes to a document more often than a transaction takes would else end every one of
        them. `apply`, given `Deltas.beside` these, writes the sums without the mark: nobody ever sees it.
        """
        self.concerned = set()
        named = list(targets)
        self._locked = frozenset(named)
        for kind, collection in (("course", self._database.courses), ("user", self._database.users)):
            marks: list[tuple[Target, Write]] = [
                (target, UpdateOne({"_id": target[1], **_MARKABLE}, _MARK))
                for target in named
                if target[0] == kind
            ]
            await write_each(collection, marks, session)

    async def apply(
        self,
        deltas: Deltas,
        rebuild: Set[Target],
        rejections: Rejections,
        allowance: Allowance,
        session: Session,
        *,
        retrying: Set[Target] = frozenset(),
    ) -> dict[Target, Reason]:
        """Add the differences, and rebuild what is named or cannot be added to; returns what was left out.

        1. courses  2. users, as learners and as instructors of these courses. Call it after the projections are
        written. Documents in `rejections`, and those that cannot be read, count as absent and are quarantined. One
        that was quarantined before is rebuilt if it is named, and left alone otherwise. `retrying` says which are
        named because their item is due: their item stays as it is. May run twice with the same `rebuild`; `deltas`
        belong to the projections' step and are added once with it.
        """
        excluded = _Excluded(rejections, retrying, allowance)
        courses = await self._courses(deltas, rebuild, excluded, session)  # 1
        await self._users(deltas, courses, rebuild, excluded, session)  # 2
        return excluded.over

    async def _courses(
        self, deltas: Deltas, rebuild: Set[Target], excluded: "_Excluded", session: Session
    ) -> CoursePlan:
        """1. read documents and markers  2. decide  3. sum  4. write documents  5. write markers."""
        named = _of("course", rebuild)
        ids = deltas.courses.keys() | named
        if not ids:
            return CoursePlan()
        self.concerned |= {("course", each) for each in ids}
        documents, unread = await self._read("course", ids, _COURSE_PATHS, excluded.allowance, session)  # 1
        named = await self._named("course", named, ids, documents, unread, excluded, session)
        credited = await self._markers.credited(ids, session)
        plan = plan_courses(deltas.courses, named, documents, credited)  # 2
        plan.sums.update(await self._course_sums(plan.rebuild, session))  # 3
        writes: list[tuple[Target, Write]] = []
        for course, sums in plan.sums.items():
            with concerning(("course", course)):
                update = stats_update(documents[course], course_stats(sums))
            if update:
                writes.append((("course", course), UpdateOne({"_id": course}, {"$set": update})))
        await write_each(self._database.courses, writes, session)  # 4
        marked = plan.rebuild | plan.absent | plan.credits.keys()
        await self._markers.touch("course", marked, session, taught_by=plan.credits)  # 5
        return plan

    async def _users(
        self,
        deltas: Deltas,
        courses: CoursePlan,
        rebuild: Set[Target],
        excluded: "_Excluded",
        session: Session,
    ) -> None:
        """1. read documents  2. decide  3. sum  4. write documents  5. write markers."""
        named = _of("user", rebuild) | courses.recredited
        ids = deltas.users.keys() | deltas.enrolments.keys() | courses.teaching.keys() | named
        if not ids:
            return
        self.concerned |= {("user", each) for each in ids}
        documents, unread = await self._read("user", ids, _USER_PATHS, excluded.allowance, session)  # 1
        named = await self._named("user", named, ids, documents, unread, excluded, session)
        plan = plan_users(deltas, courses.teaching, named, documents)  # 2
        entries = {
            **deltas.enrolments,
            **await self._sum_users(plan, documents, excluded.allowance, session),
        }  # 3
        writes: list[tuple[Target, Write]] = []
        for user, (learning, teaching) in plan.sums.items():
            with concerning(("user", user)):
                update = stats_update(documents[user], user_stats(learning, teaching))
                update = _with_log(update, documents[user], entries.get(user, ()))
            if update:
                writes.append((("user", user), UpdateOne({"_id": user}, {"$set": update})))
        await write_each(self._database.users, writes, session)  # 4
        await self._markers.touch("user", plan.rebuild | plan.absent, session)  # 5

    async def _named(
        self,
        kind: Kind,
        named: Set[ObjectId],
        identities: Set[ObjectId],
        documents: dict[ObjectId, Document],
        unread: Rejections,
        excluded: "_Excluded",
        session: Session,
    ) -> set[ObjectId]:
        """Those to be rebuilt: the ones named, and the ones that were quarantined and are gone by now.

        What exists and is left out is taken out of `documents`, and quarantined.
        """
        wanted: set[Target] = {(kind, each) for each in named}
        there: set[Target] = {(kind, each) for each in documents} | unread.keys()
        quarantined = await self._quarantine.open_among([(kind, each) for each in identities], session)
        rejected = {**{each: why for each, why in excluded.rejections.items() if each in there}, **unread}
        barred = rejected.keys() | ((quarantined & there) - wanted)
        self.concerned -= barred
        if barred & self._locked:
            raise Retryable("a document was quarantined by somebody else while it was held")
        for target in barred:
            documents.pop(target[1], None)
        excluded.over.update(rejected)
        moved = {each: why for each, why in rejected.items() if each not in excluded.retrying}
        news = {each: why for each, why in moved.items() if each not in quarantined or each in wanted}
        await self._quarantine.put(news, wanted, session)
        await self._quarantine.release(quarantined - barred, session)
        return {each for _, each in (wanted | quarantined) - barred}

    async def _sum_users(
        self, plan: UserPlan, documents: Mapping[ObjectId, Document], allowance: Allowance, session: Session
    ) -> dict[ObjectId, list[ActivityEntry]]:
        """Put the sums of the users to be rebuilt into the plan; returns their enrolments."""
        if not plan.rebuild:
            return {}
        learning, entries = await self._learning_sums(plan.rebuild, allowance, session)
        teaching = await self._teaching_sums(plan.rebuild, allowance, session)
        for user in plan.rebuild:
            nobody = Counted() if taught_before(documents[user]) else None
            plan.sums[user] = (learning.get(user, Counted()), teaching.get(user, nobody))
        return entries

    async def _course_sums(self, courses: Set[ObjectId], session: Session) -> Sums:
        if not courses:
            return {}
        group: Document = {"_id": "$course_id", **{name: {"$sum": f"$counted.{name}"} for name in NAMES}}
        pipeline = [{"$match": {"course_id": {"$in": list(courses)}}}, {"$group": group}]
        found = await reading.aggregate(self._database.user_progress_projections, pipeline, session=session)
        taken = found.through(_summed)
        for one in taken.unreadable:
            if isinstance(one.id, ObjectId) and one.id in courses:
                raise RejectedWrite(("course", one.id), Reason("Unreadable", _NO_SUM))
        sums = {course: counted for course, counted in taken.values if course in courses}
        return {course: sums.get(course, Counted()) for course in courses}

    async def _learning_sums(
        self, users: Set[ObjectId], allowance: Allowance, session: Session
    ) -> tuple[Sums, dict[ObjectId, list[ActivityEntry]]]:
        paths = dict.fromkeys(("user_id", "course_id", "enrolled_at", "counted"), 1)
        projections = self._database.user_progress_projections
        found = await allowance.find(
            projections, {"user_id": {"$in": list(users)}}, paths, session, asked=len(users)
        )
        taken = found.through(_learned)
        if taken.unreadable and len(users) == 1:
            raise RejectedWrite(("user", next(iter(users))), Reason("Unreadable", _NO_SUM))
        if taken.unreadable:  # whose they are cannot be read from them
            for user in users:
                await self._learning_sums({user}, allowance, session)
        sums: Sums = defaultdict(Counted)
        entries: dict[ObjectId, list[ActivityEntry]] = defaultdict(list)
        for user, counted, entry in taken.values:
            sums[user] += counted
            if entry is not None:
                entries[user].append(entry)
        return sums, entries

    async def _teaching_sums(self, users: Set[ObjectId], allowance: Allowance, session: Session) -> Sums:
        """Over the courses counted for these users, as the documents of the courses have them now."""
        taught = await self._markers.taught(users, session)
        documents, _ = await self._read("course", taught, {"stats.sums": 1}, allowance, session)
        sums: Sums = defaultdict(Counted)
        for course, instructor in taught.items():
            stored = documents.get(course, {}).get("stats")
            own = sums_in(stored.get("sums")) if isinstance(stored, dict) else None
            sums[instructor] += (own or Counted()).only(TEACHING)
        return sums

    async def _read(
        self,
        kind: Kind,
        ids: Iterable[ObjectId],
        paths: Mapping[str, Any],
        allowance: Allowance,
        session: Session,
    ) -> tuple[dict[ObjectId, Document], dict[Target, Reason]]:
        """The documents that can be read, and why the others cannot."""
        collection = self._database.courses if kind == "course" else self._database.users
        query = {"_id": {"$in": list(ids)}}
        found = await allowance.find(
            collection, query, paths, session, asked=len(query["_id"]["$in"]), kept=("activity_log",)
        )
        return {document["_id"]: document for document in found.documents}, unreadable(kind, found.unreadable)


@dataclass(frozen=True, slots=True)
class _Excluded:
    """What one transaction leaves out: known before, and found on its way; and what it may read."""

    rejections: Rejections
    retrying: Set[Target]
    allowance: Allowance
    over: dict[Target, Reason] = field(default_factory=dict)


def _of(kind: Kind, targets: Iterable[Target]) -> set[ObjectId]:
    return {identity for each, identity in targets if each == kind}


def _summed(row: Mapping[str, Any]) -> tuple[ObjectId, Counted]:
    """A course and the sum of its learners, which are all integers unless somebody else wrote to one."""
    sums = sums_in(row)
    if sums is None or not isinstance(row["_id"], ObjectId):
        raise ValueError("a sum of something else than our integers")
    return row["_id"], sums


def _learned(row: Mapping[str, Any]) -> tuple[ObjectId, Counted, ActivityEntry | None]:
    """A learner's share as the learner's user has it, and the enrolment it stands for."""
    user, course, enrolled_at = row["user_id"], row["course_id"], row["enrolled_at"]
    counted = sums_in({**Counted().document(), **row["counted"]})
    if counted is None or not isinstance(user, ObjectId) or not isinstance(course, ObjectId):
        raise ValueError("a projection of something else than our values")
    return user, counted.only(LEARNING), None if enrolled_at is None else ActivityEntry(course, enrolled_at)


def _with_log(update: Document, user: Mapping[str, Any], entries: Iterable[ActivityEntry]) -> Document:
    """The update with the new log in it, in which everybody else's entries have the bytes they had."""
    stored = user.get("activity_log")
    log = merged_log(stored, entries)
    if not log or log == stored:
        return update
    if isinstance(stored, KeptArray):
        return with_array(update, "activity_log", stored.encoded(log))
    return {**update, "activity_log": log}
