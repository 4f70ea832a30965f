"""What counting does to statistics: decided from values alone, whatever was read in the transaction.

A course's or user's statistics are the sum over projections. Where the document already holds such a sum, the
difference is added; where it holds none, or one that cannot be trusted, it is rebuilt.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId

from projections.counts import (
    LEARNING,
    TEACHING,
    ActivityEntry,
    Counted,
    Step,
    Teaching,
    is_crowded,
    sums_in,
    teaching_in,
)
from projections.counts.statistics import instructor_of
from worker.storage.database import Document
from worker.storage.encoding import same
from worker.watch.sums.attempt import Target, ids_of


@dataclass(frozen=True, slots=True)
class Deltas:
    """Differences to add, and new entries of activity logs. A difference of zero only has its document written."""

    courses: Mapping[ObjectId, Counted] = field(default_factory=dict)
    users: Mapping[ObjectId, Counted] = field(default_factory=dict)
    enrolments: Mapping[ObjectId, list[ActivityEntry]] = field(default_factory=dict)

    def beside(self, locked: Iterable[Target]) -> "Deltas":
        """The same, and zero for every document that is held: its mark must not outlive the transaction."""
        courses = dict.fromkeys(ids_of("course", locked), Counted())
        users = dict.fromkeys(ids_of("user", locked), Counted())
        return Deltas({**courses, **self.courses}, {**users, **self.users}, self.enrolments)


@dataclass(frozen=True, slots=True)
class CoursePlan:
    """`sums` are known; `rebuild` must be summed over projections; `absent` have no document that can be written.

    `teaching` are differences of instructors; `recredited` are the instructors whose courses changed, to be
    rebuilt, and `credits` the instructor each of these courses is counted for from now on. `taught` are all courses
    that were counted for one of `instructors`, those of the documents read, and whom for.
    """

    sums: dict[ObjectId, Counted] = field(default_factory=dict)
    rebuild: set[ObjectId] = field(default_factory=set)
    absent: set[ObjectId] = field(default_factory=set)
    teaching: dict[ObjectId, Counted] = field(default_factory=dict)
    recredited: set[ObjectId] = field(default_factory=set)
    credits: dict[ObjectId, ObjectId | None] = field(default_factory=dict)
    instructors: Set[ObjectId] = frozenset()
    taught: Mapping[ObjectId, ObjectId] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UserPlan:
    """As for courses; a user's sums are those as a learner and, once there is a course, as an instructor."""

    sums: dict[ObjectId, tuple[Counted, Teaching | None]] = field(default_factory=dict)
    rebuild: set[ObjectId] = field(default_factory=set)
    absent: set[ObjectId] = field(default_factory=set)


def deltas_of(steps: Iterable[Step]) -> Deltas:
    """The learners' steps added up by course and by user."""
    courses: dict[ObjectId, Counted] = defaultdict(Counted)
    users: dict[ObjectId, Counted] = defaultdict(Counted)
    enrolments: dict[ObjectId, list[ActivityEntry]] = defaultdict(list)
    for step in steps:
        course_id, user_id = step.projection["course_id"], step.projection["user_id"]
        if step.delta:
            courses[course_id] += step.delta
        if own := step.delta.only(LEARNING):
            users[user_id] += own
        if step.enrolment is not None:
            enrolments[user_id].append(step.enrolment)
    return Deltas(_nonzero(courses), _nonzero(users), dict(enrolments))


def plan_courses(
    deltas: Mapping[ObjectId, Counted],
    rebuild: Set[ObjectId],
    documents: Mapping[ObjectId, Document],
    credited: Mapping[ObjectId, ObjectId | None],
) -> CoursePlan:
    """`documents` are those that exist and can be written, `credited` the instructors courses are counted for."""
    plan = CoursePlan()
    teaching: dict[ObjectId, Counted] = defaultdict(Counted)
    for course in deltas.keys() | rebuild:
        document, before = documents.get(course), credited.get(course)
        instructor = None if document is None else instructor_of(document)
        sums = None if document is None else sums_in(_stats(document).get("sums"))
        if document is None:
            plan.absent.add(course)
        elif sums is None or course in rebuild or instructor != before:
            plan.rebuild.add(course)
        else:
            plan.sums[course] = sums + deltas[course]
            if instructor is not None:
                teaching[instructor] += deltas[course].only(TEACHING)
        if course in plan.rebuild or (course in rebuild and before is not None):
            plan.credits[course] = instructor
            plan.recredited.update(each for each in (before, instructor) if each is not None)
    plan.teaching.update(_nonzero(teaching))
    return plan


def plan_users(
    deltas: Deltas,
    teaching: Mapping[ObjectId, Teaching],
    rebuild: Set[ObjectId],
    documents: Mapping[ObjectId, Document],
) -> UserPlan:
    """`documents` are those that exist and can be written, `teaching` what stands now of the instructors."""
    plan = UserPlan()
    for user in deltas.users.keys() | deltas.enrolments.keys() | teaching.keys() | rebuild:
        document = documents.get(user)
        if document is None:
            plan.absent.add(user)
            continue
        stored = _stats(document).get("sums")
        sums = stored if isinstance(stored, dict) else {}
        learned, taught = sums_in(sums.get("learning"), LEARNING), teaching_in(sums.get("teaching"))
        unknown = taught is None and "teaching" in sums and user not in teaching
        entries = deltas.enrolments.get(user, ())
        crowded = bool(entries) and is_crowded(document.get("activity_log"), entries)
        if learned is None or user in rebuild or crowded or unknown:
            plan.rebuild.add(user)
        else:
            plan.sums[user] = (learned + deltas.users.get(user, Counted()), teaching.get(user, taught))
    return plan


def stats_update(document: Mapping[str, Any], wanted: Mapping[str, Any]) -> Document:
    """The `$set` that brings the worker's fields of `stats` to `wanted`; empty if they are there."""
    if not isinstance(document.get("stats"), dict):
        return {"stats": dict(wanted)}
    stored = document["stats"]
    return {f"stats.{name}": value for name, value in wanted.items() if not same(stored.get(name), value)}


def _stats(document: Mapping[str, Any]) -> Mapping[str, Any]:
    stats = document.get("stats")
    return stats if isinstance(stats, dict) else {}


def _nonzero(sums: Mapping[ObjectId, Counted]) -> dict[ObjectId, Counted]:
    return {key: counted for key, counted in sums.items() if counted}
