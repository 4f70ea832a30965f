"""Which sums are added to, which are taken anew, and what of a document is written."""

from dataclasses import replace
from typing import Any

import pytest
from bson import ObjectId

from projections.counts import TEACHING, ActivityEntry, Counted, Taught, Teaching, course_stats, user_stats
from projections.counts.statistics import instructor_of
from tests.support.counts import counter, dependencies, dirty_keys
from tests.unit.projections.events import moment
from worker.storage.database import make_client, open_database
from worker.storage.transactions import Transactions
from worker.watch.sums.attempt import Attempt, Keys, TooLarge
from worker.watch.sums.plan import (
    Deltas,
    plan_courses,
    plan_users,
    stats_update,
)
from worker.watch.sums.runner import Runner

COURSE, LEARNER, TEACHER, OTHER = (ObjectId(number.to_bytes(12, "big")) for number in range(1, 5))
ONE = Counted(enrolled=1, active=1, rated=1, rating=400, stars_4=1)
TEN = Counted(enrolled=10, active=8, completed=2)


def course(sums: Counted | None = TEN, instructor: ObjectId = TEACHER) -> dict[str, Any]:
    stats = {} if sums is None else {"stats": course_stats(sums)}
    return {"_id": COURSE, "instructor_id": instructor, **stats}


def user(learning: Counted | None, teaching: Teaching | None = None) -> dict[str, Any]:
    return {} if learning is None else {"stats": user_stats(learning, teaching)}


def test_a_counted_course_is_added_to_and_so_is_its_instructor() -> None:
    plan = plan_courses({COURSE: ONE}, set(), {COURSE: course()}, {COURSE: TEACHER})
    assert plan.sums == {COURSE: TEN + ONE}
    assert plan.teaching == {TEACHER: ONE.only(TEACHING)}
    assert not plan.rebuild | plan.absent | plan.recredited


def test_progress_alone_does_not_touch_the_instructor() -> None:
    plan = plan_courses({COURSE: Counted(progress=50)}, set(), {COURSE: course()}, {COURSE: TEACHER})
    assert plan.teaching == {}


@pytest.mark.parametrize(
    ("document", "credited"),
    [
        pytest.param(course(None), {}, id="never counted"),
        pytest.param({**course(), "stats": {"sums": {"enrolled": 3}}}, {COURSE: TEACHER}, id="not our sums"),
        pytest.param({**course(), "stats": "none"}, {COURSE: TEACHER}, id="no stats at all"),
        pytest.param(course(), {COURSE: OTHER}, id="counted for somebody else"),
        pytest.param(course(), {}, id="counted for nobody"),
    ],
)
def test_a_course_whose_sums_cannot_be_added_to_is_summed_again(
    document: dict[str, Any], credited: dict[ObjectId, ObjectId | None]
) -> None:
    plan = plan_courses({COURSE: ONE}, set(), {COURSE: document}, credited)
    assert (plan.rebuild, plan.sums, plan.teaching) == ({COURSE}, {}, {})
    assert plan.credits == {COURSE: TEACHER}
    assert plan.recredited == {TEACHER, *credited.values()}


def test_an_absent_course_is_left_to_its_marker_and_its_credit_waits_for_the_deletion_to_be_told() -> None:
    plan = plan_courses({COURSE: ONE}, set(), {}, {COURSE: TEACHER})
    assert (plan.absent, plan.credits, plan.recredited) == ({COURSE}, {}, set())


def test_a_course_told_to_be_deleted_is_taken_from_its_instructor() -> None:
    plan = plan_courses({}, {COURSE}, {}, {COURSE: TEACHER})
    assert (plan.absent, plan.credits, plan.recredited) == ({COURSE}, {COURSE: None}, {TEACHER})


@pytest.mark.parametrize(
    ("document", "instructor"),
    [
        ({"instructor_id": TEACHER, "instructor": {"user_id": OTHER}}, TEACHER),
        ({"instructor": {"user_id": OTHER}}, OTHER),
        ({"instructor_id": "text", "instructor": {"user_id": OTHER}}, OTHER),
        ({"instructor": "text"}, None),
        ({}, None),
    ],
)
def test_the_instructor_stands_in_one_of_two_places(
    document: dict[str, Any], instructor: ObjectId | None
) -> None:
    assert instructor_of(document) == instructor


def test_a_counted_user_is_added_to_in_both_parts() -> None:
    deltas = Deltas(users={LEARNER: Counted(enrolled=1)})
    before, now = Teaching(Taught(rated=3)), Teaching(Taught(rated=4, students=2))
    documents = {LEARNER: user(Counted(enrolled=2), before)}
    assert plan_users(deltas, {}, set(), documents).sums == {LEARNER: (Counted(enrolled=3), before)}
    plan = plan_users(deltas, {LEARNER: now}, set(), documents)
    assert plan.sums == {LEARNER: (Counted(enrolled=3), now)}


@pytest.mark.parametrize(
    ("document", "teaching", "rebuilt"),
    [
        pytest.param({}, {}, set(), id="never counted"),
        pytest.param({"stats": {"sums": 3}}, {}, set(), id="not our sums"),
        pytest.param(
            {"stats": {"sums": {**user(Counted())["stats"]["sums"], "teaching": {"rated": 1}}}},
            {},
            set(),
            id="an instructor as an older version has them",
        ),
        pytest.param(user(Counted()), {}, {LEARNER}, id="named"),
    ],
)
def test_a_user_whose_sums_cannot_be_added_to_is_summed_again(
    document: dict[str, Any], teaching: dict[ObjectId, Teaching], rebuilt: set[ObjectId]
) -> None:
    deltas = Deltas(users={LEARNER: Counted(enrolled=1)})
    assert plan_users(deltas, teaching, rebuilt, {LEARNER: document}).rebuild == {LEARNER}


def test_an_absent_user_and_a_log_entry_alone_are_thought_of() -> None:
    deltas = Deltas(enrolments={LEARNER: [ActivityEntry(COURSE, moment(1))]})
    assert plan_users(deltas, {}, set(), {}).absent == {LEARNER}
    assert plan_users(deltas, {}, set(), {LEARNER: user(Counted())}).sums == {LEARNER: (Counted(), None)}


def test_only_fields_that_differ_are_written() -> None:
    wanted = course_stats(TEN)
    assert stats_update({"stats": {**wanted, "views": 3}}, wanted) == {}
    assert stats_update({"stats": {**wanted, "sums": {}}}, wanted) == {"stats.sums": wanted["sums"]}
    assert stats_update({"stats": None}, wanted) == {"stats": wanted}
    assert stats_update({}, wanted) == {"stats": wanted}


def test_changes_wake_each_document_once_and_foreign_ids_nobody() -> None:
    changes: list[dict[str, Any]] = [
        {"collection": "user_progress", "identity": LEARNER},
        {"collection": "user_progress", "identity": LEARNER},
        {"collection": "courses", "identity": COURSE},
        {"collection": "users", "identity": "text"},
    ]
    database = open_database(make_client("mongodb://127.0.0.1:1"))
    keys = counter(dependencies(database)).keys(changes)
    assert keys == dirty_keys({LEARNER}, {COURSE})


async def test_what_conflicts_or_does_not_fit_is_cut_into_halves_and_nothing_is_left_out() -> None:
    ids = [ObjectId(number.to_bytes(12, "big")) for number in range(4_000)]
    tried: list[int] = []

    async def transact(attempt: Attempt) -> Keys:
        tried.append(len(attempt.keys))
        if len(attempt.keys) > 700:
            raise TooLarge("more than fits", 0.5)
        return attempt.keys

    class Immediately(Transactions):
        async def run(self, work: Any) -> Any:
            return await work(None)

    client = make_client("mongodb://127.0.0.1:1")
    given = replace(dependencies(open_database(client)), transactions=Immediately(client))
    everybody = dirty_keys(ids)
    done = [keys async for _, keys in Runner(given, 1_500).run(everybody, transact)]
    assert frozenset().union(*done) == everybody
    assert sum(map(len, done)) == len(everybody)
    assert max(tried) <= 1_500
