"""Statistics of courses and users within one transaction: read, decide, write; nothing in between can change.

Where a document is absent nothing is inserted. A marker is written instead, and again when the document's
statistics are summed: of two transactions that do not see each other, one that missed the document and one that
missed a projection, the server then ends one, and it runs again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
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
from projections.counts.counted import counted_before
from worker.storage import driver
from worker.storage.database import Collection, Database, Document
from worker.storage.errors import translated
from worker.storage.transactions import Session
from worker.watch.counts_markers import Markers
from worker.watch.counts_plan import (
    CoursePlan,
    Kind,
    Moves,
    Target,
    UserPlan,
    plan_courses,
    plan_users,
    stats_update,
    taught_before,
)
from worker.watch.counts_writing import Write, write_each

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
    """Writes the worker's fields of `courses.stats`, `users.stats` and `users.activity_log`.

    `concerned` are the documents that the last transaction read in order to write them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._markers = Markers(database.watch_positions)
        self.concerned: set[Target] = set()

    async def hold(self, targets: Iterable[Target], session: Session) -> None:
        """Write a mark into these documents first of all: whoever writes to them now waits for our commit.

        A platform that writes to a document more often than a transaction takes would else end every one of
        them. `settle`, given `Moves.beside` these, writes the sums without the mark: nobody ever sees it.
        """
        self.concerned = set()
        named = list(targets)
        for kind, collection in (("course", self._database.courses), ("user", self._database.users)):
            marks: list[tuple[Target, Write]] = [
                (target, UpdateOne({"_id": target[1], **_MARKABLE}, _MARK))
                for target in named
                if target[0] == kind
            ]
            await write_each(collection, marks, session)

    async def settle(
        self, moves: Moves, anew: Set[Target], unwritable: Set[Target], session: Session
    ) -> None:
        """Add the differences, and sum anew what is named or cannot be added to.

        1. courses  2. users, as learners and as instructors of these courses. Call it after the projections are
        written. `unwritable` documents count as absent and are remembered as behind; a document that is behind
        is summed anew. May run twice with the same `anew`; `moves` belong to the projections' step and are added
        once with it.
        """
        courses = await self._courses(moves, anew, unwritable, session)  # 1
        await self._users(moves, courses, anew, unwritable, session)  # 2

    async def _courses(
        self, moves: Moves, anew: Set[Target], unwritable: Set[Target], session: Session
    ) -> CoursePlan:
        """1. read documents and markers  2. decide  3. sum  4. write documents  5. write markers."""
        named = _of("course", anew)
        ids = moves.courses.keys() | named
        if not ids:
            return CoursePlan()
        self.concerned |= {("course", each) for each in ids}
        documents = await self._read(self._database.courses, ids, _COURSE_PATHS, session)  # 1
        named = await self._named("course", named, ids, documents, unwritable, session)
        credited = await self._markers.credited(ids, session)
        plan = plan_courses(moves.courses, named, documents, credited)  # 2
        plan.sums.update(await self._course_sums(plan.anew, session))  # 3
        writes: list[tuple[Target, Write]] = []
        for course, sums in plan.sums.items():
            if update := stats_update(documents[course], course_stats(sums)):
                writes.append((("course", course), UpdateOne({"_id": course}, {"$set": update})))
        await write_each(self._database.courses, writes, session)  # 4
        marked = plan.anew | plan.absent | plan.credits.keys()
        await self._markers.touch("course", marked, session, taught_by=plan.credits)  # 5
        return plan

    async def _users(
        self, moves: Moves, courses: CoursePlan, anew: Set[Target], unwritable: Set[Target], session: Session
    ) -> None:
        """1. read documents  2. decide  3. sum  4. write documents  5. write markers."""
        named = _of("user", anew) | courses.recredited
        ids = moves.users.keys() | moves.enrolments.keys() | courses.teaching.keys() | named
        if not ids:
            return
        self.concerned |= {("user", each) for each in ids}
        documents = await self._read(self._database.users, ids, _USER_PATHS, session)  # 1
        named = await self._named("user", named, ids, documents, unwritable, session)
        plan = plan_users(moves, courses.teaching, named, documents)  # 2
        entries = {**moves.enrolments, **await self._sum_users(plan, documents, session)}  # 3
        writes: list[tuple[Target, Write]] = []
        for user, (learning, teaching) in plan.sums.items():
            update = stats_update(documents[user], user_stats(learning, teaching))
            update |= _log_update(documents[user], entries.get(user, ()))
            if update:
                writes.append((("user", user), UpdateOne({"_id": user}, {"$set": update})))
        await write_each(self._database.users, writes, session)  # 4
        await self._markers.touch("user", plan.anew | plan.absent, session)  # 5

    async def _named(
        self,
        kind: Kind,
        named: Set[ObjectId],
        identities: Set[ObjectId],
        documents: dict[ObjectId, Document],
        unwritable: Set[Target],
        session: Session,
    ) -> set[ObjectId]:
        """Those to be summed anew: the ones named, and the ones that are behind.

        What exists and cannot be written is not; it is taken out of `documents` and remembered as behind.
        """
        refused = await self._markers.refused(kind, identities, session)
        barred = documents.keys() & _of(kind, unwritable)
        for identity in barred:
            del documents[identity]
        behind: list[Target] = [(kind, identity) for identity in barred - refused]
        caught_up: list[Target] = [(kind, identity) for identity in refused - barred]
        await self._markers.mark_refused(behind, caught_up, session)
        return {*named, *refused} - barred

    async def _sum_users(
        self, plan: UserPlan, documents: Mapping[ObjectId, Document], session: Session
    ) -> dict[ObjectId, list[ActivityEntry]]:
        """Put the sums of the users to be summed anew into the plan; returns their enrolments."""
        if not plan.anew:
            return {}
        learning, entries = await self._learning_sums(plan.anew, session)
        teaching = await self._teaching_sums(plan.anew, session)
        for user in plan.anew:
            nobody = Counted() if taught_before(documents[user]) else None
            plan.sums[user] = (learning.get(user, Counted()), teaching.get(user, nobody))
        return entries

    async def _course_sums(self, courses: Set[ObjectId], session: Session) -> Sums:
        if not courses:
            return {}
        group: Document = {"_id": "$course_id", **{name: {"$sum": f"$counted.{name}"} for name in NAMES}}
        pipeline = [{"$match": {"course_id": {"$in": list(courses)}}}, {"$group": group}]
        with translated():
            rows = await driver.aggregate(self._database.user_progress_projections, pipeline, session=session)
        found = {row["_id"]: counted_before(row) for row in rows}
        return {course: found.get(course, Counted()) for course in courses}

    async def _learning_sums(
        self, users: Set[ObjectId], session: Session
    ) -> tuple[Sums, dict[ObjectId, list[ActivityEntry]]]:
        paths = dict.fromkeys(("user_id", "course_id", "enrolled_at", "counted"), 1)
        with translated():
            rows = await self._database.user_progress_projections.find(
                {"user_id": {"$in": list(users)}}, paths, session=session
            ).to_list(None)
        sums: Sums = defaultdict(Counted)
        entries: dict[ObjectId, list[ActivityEntry]] = defaultdict(list)
        for row in rows:
            sums[row["user_id"]] += counted_before(row["counted"]).only(LEARNING)
            if row["enrolled_at"] is not None:
                entries[row["user_id"]].append(ActivityEntry(row["course_id"], row["enrolled_at"]))
        return sums, entries

    async def _teaching_sums(self, users: Set[ObjectId], session: Session) -> Sums:
        """Over the courses counted for these users, as the documents of the courses have them now."""
        taught = await self._markers.taught(users, session)
        documents = await self._read(self._database.courses, taught, {"stats.sums": 1}, session)
        sums: Sums = defaultdict(Counted)
        for course, instructor in taught.items():
            stored = documents.get(course, {}).get("stats")
            own = sums_in(stored.get("sums")) if isinstance(stored, dict) else None
            sums[instructor] += (own or Counted()).only(TEACHING)
        return sums

    async def _read(
        self, collection: Collection, ids: Iterable[ObjectId], paths: Mapping[str, Any], session: Session
    ) -> dict[ObjectId, Document]:
        with translated():
            found = await collection.find({"_id": {"$in": list(ids)}}, paths, session=session).to_list(None)
        return {document["_id"]: document for document in found}


def _of(kind: Kind, targets: Iterable[Target]) -> set[ObjectId]:
    return {identity for each, identity in targets if each == kind}


def _log_update(user: Mapping[str, Any], entries: Iterable[ActivityEntry]) -> Document:
    log = merged_log(user.get("activity_log"), entries)
    return {} if not log or log == user.get("activity_log") else {"activity_log": log}
