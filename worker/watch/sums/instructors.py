"""Instructors, within the transactions of `counts`: what their courses add up to, and where it is shown.

A learner counts once, in however many courses of an instructor: whether it is one more tell the learner's other
projections, which the same transaction reads. Whoever else counts the same learner writes the same instructor, and
the server ends one of the two. `instructor.social_proof` of the courses follows in a transaction of its own, once for
all that has moved meanwhile: an instructor may have many courses, and moves with every learner.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from bson import ObjectId
from pymongo import ReplaceOne, UpdateMany

from projections.counts import TEACHING, Counted, Step, Taught, Teaching, social_proof, sums_in, teaching_in
from projections.counts.teaching import INSTRUCTORS_COLLECTION, REVENUE, REVENUE_COLLECTION
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.watch.sums.attempt import Attempt, Target, Write, ids_of
from worker.watch.sums.conflict_markers import WriteConflictMarkers
from worker.watch.sums.learners import Learners
from worker.watch.sums.plan import CoursePlan

INSTRUCTOR = "instructor"
"""The kind of target that these documents are; those of `REVENUE` show what was paid for a course."""

Courses = Mapping[ObjectId, ObjectId]
"""The instructor that each course is counted for."""

_COURSE_PATHS: Mapping[str, Any] = {"stats.sums": 1, "deleted_at": 1}


@dataclass(frozen=True, slots=True)
class Instructors:
    """Keeps `instructor_statistics`, and the courses' `instructor.social_proof`.

    `doubting`: nothing that is kept is believed of those who are named. `paid`: what is paid for courses is summed.
    """

    database: Database
    markers: WriteConflictMarkers
    doubting: bool = False
    paid: bool = True

    async def update(
        self,
        steps: Iterable[Step],
        courses: CoursePlan,
        named: Set[ObjectId],
        learners: Learners,
        attempt: Attempt,
    ) -> dict[ObjectId, Teaching]:
        """Bring the sums of those up to date whose courses, learners or revenue have moved, and of those `named`.

        1. whose they are, what is kept of them, their courses  2. add the differences  3. sum anew where nothing is
        kept, where courses came or went, and for whom is named  4. write what differs. Returns what stands now.
        """
        paid = await self._instructors_paid(attempt)  # 1
        woken = ids_of(INSTRUCTOR, attempt.keys)
        touched = courses.teaching.keys() | courses.recredited | named | paid | woken
        if not touched:
            return {}
        kept = await self.kept(touched, attempt)
        anew = courses.recredited | named | (woken if self.doubting else set())
        anew = {each for each in touched if each in anew or each not in kept}
        moved = (courses.teaching.keys() | paid) - anew
        taught = await self._taught(anew | moved, courses, attempt)
        students = await self._new_students(steps, taught, courses.teaching.keys() - anew, learners)  # 2
        revenue = await self._revenue(taught, anew | paid, attempt)
        known = anew & (kept.keys() | set(taught.values()))  # all others never taught
        now = {
            each: replace(
                kept[each].moved(courses.teaching.get(each, Counted()), students[each]),
                revenue=revenue.get(each, kept[each].revenue),
            )
            for each in moved
        }
        now |= {
            each: Teaching(await self._summed(each, taught, attempt), revenue.get(each, {})) for each in known
        }  # 3
        writes: list[tuple[Target | None, Write]] = [
            ((INSTRUCTOR, each), ReplaceOne({"_id": each}, {"_id": each, **stands.document()}, upsert=True))
            for each, stands in now.items()
            if kept.get(each) != stands
        ]
        await attempt.write(self.database.collection(INSTRUCTORS_COLLECTION), writes)  # 4
        return now

    async def kept(self, instructors: Collection[ObjectId], attempt: Attempt) -> dict[ObjectId, Teaching]:
        """What is kept of them, as far as it is what we keep."""
        found = await attempt.read(self.database.collection(INSTRUCTORS_COLLECTION), instructors, {})
        read = {row["_id"]: teaching_in(row) for row in found.documents}
        return {each: teaching for each, teaching in read.items() if teaching is not None}

    async def prove(self, courses: CoursePlan, known: Mapping[ObjectId, Teaching], attempt: Attempt) -> None:
        """Show it in the courses of those who moved before this transaction, and of those whose courses changed."""
        wanted = ids_of(INSTRUCTOR, attempt.keys - attempt.cooling.keys()) | courses.recredited
        if not wanted:
            return
        teaching = {**await self.kept(wanted - known.keys(), attempt), **known}
        theirs: dict[ObjectId, list[ObjectId]] = defaultdict(list)
        for course, instructor in (await self.markers.taught(wanted, attempt.session)).items():
            theirs[instructor].append(course)
        writes: list[tuple[Target | None, Write]] = []
        for each in theirs.keys() & teaching.keys():
            proof = social_proof(teaching[each])
            shown = {"instructor": {"$type": "object"}, "instructor.social_proof": {"$ne": proof}}
            update = {"$set": {"instructor.social_proof": proof}}
            writes.append(((INSTRUCTOR, each), UpdateMany({"_id": {"$in": theirs[each]}, **shown}, update)))
        await attempt.write(self.database.courses, writes)

    async def _taught(self, instructors: Set[ObjectId], courses: CoursePlan, attempt: Attempt) -> Courses:
        """Their courses: as they were read with the courses that moved, or now where those tell not all of them."""
        if instructors <= courses.instructors and not courses.credits:
            return {course: each for course, each in courses.taught.items() if each in instructors}
        return await self.markers.taught(instructors, attempt.session) if instructors else {}

    async def _instructors_paid(self, attempt: Attempt) -> set[ObjectId]:
        """Whose courses were paid for, or paid back."""
        courses = ids_of(REVENUE, attempt.keys)
        credited = await self.markers.credited(courses, attempt.session) if courses else {}
        return {each for each in credited.values() if each is not None}

    async def _new_students(
        self, steps: Iterable[Step], taught: Courses, instructors: Set[ObjectId], learners: Learners
    ) -> Counter[ObjectId]:
        """By instructor how many learners are new to all of their courses, less those who are in none any more."""
        students: Counter[ObjectId] = Counter()
        moved: Counter[tuple[ObjectId, ObjectId]] = Counter()
        for step in steps:
            instructor = taught.get(step.projection["course_id"])
            if step.delta.enrolled and instructor in instructors and instructor is not None:
                moved[instructor, step.projection["user_id"]] += step.delta.enrolled
        # All courses of these learners: asked for each of an instructor's, the server would look for each.
        learned = await learners.of(learner for _, learner in moved)
        for (instructor, learner), change in moved.items():
            now = sum(
                each.counted.enrolled for each in learned[learner] if taught.get(each.course) == instructor
            )
            students[instructor] += (now > 0) - (now - change > 0)
        return students

    async def _summed(self, instructor: ObjectId, taught: Courses, attempt: Attempt) -> Taught:
        """Over all courses that are counted for the instructor, as their documents are now."""
        own = [course for course, each in taught.items() if each == instructor]
        documents = (await attempt.read(self.database.courses, own, _COURSE_PATHS)).documents
        sums = Counted()
        for document in documents:
            stored = document.get("stats")
            counted = sums_in(stored.get("sums")) if isinstance(stored, dict) else None
            sums += (counted or Counted()).only(TEACHING)
        created = sum(document.get("deleted_at") is None for document in documents)
        students = await self._students(own, attempt)
        return Taught(sums.enrolled, sums.rated, sums.rating, students, created)

    async def _students(self, courses: Sequence[ObjectId], attempt: Attempt) -> int:
        if not courses:
            return 0
        pipeline: list[Document] = [
            {"$match": {"course_id": {"$in": courses}, "counted.enrolled": {"$gte": 1}}},
            {"$group": {"_id": "$user_id"}},
            {"$group": {"_id": None, "students": {"$sum": 1}}},
        ]
        projections = self.database.user_progress_projections
        found = await reading.aggregate(projections, pipeline, session=attempt.session)
        return sum(row["students"] for row in found.documents)

    async def _revenue(
        self, taught: Courses, instructors: Set[ObjectId], attempt: Attempt
    ) -> dict[ObjectId, dict[str, int]]:
        """By instructor and currency what was paid for their courses."""
        sums: dict[ObjectId, Counter[str]] = {each: Counter() for each in instructors}
        own = [course for course, each in taught.items() if each in sums]
        if self.paid and own:
            collection = self.database.collection(REVENUE_COLLECTION)
            for row in (await attempt.read(collection, own, {"revenue": 1})).documents:
                sums[taught[row["_id"]]].update(row["revenue"])
        return {each: dict(revenue) for each, revenue in sums.items()}
