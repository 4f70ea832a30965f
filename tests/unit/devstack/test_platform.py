"""What the platform writes, and what must follow for courses and people: counted here a second way."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from bson import ObjectId

from projections.counts import Counted, Taught, Teaching, course_stats, user_stats
from worker.devstack.demo.statistics_check import StoredDocuments, compare_statistics
from worker.devstack.simulator.ledger import Course, LedgerEntry
from worker.devstack.simulator.platform_documents import Timing, learner_document
from worker.devstack.simulator.simulation import Simulation, simulate
from worker.devstack.simulator.totals import totals
from worker.storage.database import Document
from worker.storage.outbox import notification_row

ADA, BEN = "a" * 24, "b" * 24
COURSES = [Course(f"{number:024x}", (), number, "f" * 24) for number in (0, 1)]


def entry(user_id: str, course: int, **fields: Any) -> LedgerEntry:
    return replace(
        LedgerEntry(user_id, COURSES[course].course_id, 5_000, 0, 0, None, dropped=False), **fields
    )


LEDGER = [
    entry(ADA, 0, percentage=10_000, finished=True, stars=4, certificates=1, questions_asked=2),
    entry(BEN, 0, dropped=True, stars=5, discussion_posts=3),
    entry(ADA, 1),
]


def test_a_course_counts_its_learners_and_averages_what_they_say() -> None:
    course = totals(LEDGER, COURSES).courses[0]
    assert (course.total, course.active, course.completed) == (2, 0, 1)
    assert (course.reviews, course.rating_average, course.distribution) == (2, 450, (0, 0, 0, 1, 1))
    assert (course.progress, course.discussion_posts, course.questions_asked) == (15_000, 3, 2)


def test_a_learner_counts_over_courses_and_an_instructor_over_those_with_a_document() -> None:
    expected = totals(LEDGER, COURSES[:1])
    ada = expected.learners[0]
    assert (ada.courses_enrolled, ada.courses_completed, ada.certificates_earned) == (2, 1, 1)
    assert ada.course_ids == tuple(course.course_id for course in COURSES)
    assert [(each.total_students, each.rating_average) for each in expected.instructors] == [(2, 450)]


def test_documents_come_before_after_and_never_for_every_kind() -> None:
    simulation = simulate(seed=7, records=5_000)
    for collection in ("courses", "users"):
        timings = {each.timing for each in simulation.kept if each.collection == collection}
        assert timings == set(Timing)


def test_the_platform_writes_each_document_once_and_no_two_with_one_name() -> None:
    documents = [each.document for each in simulate(seed=7, records=5_000).kept]
    for path in ("_id", "email", "username", "slug"):
        values = [document[path] for document in documents if path in document]
        assert len(values) == len(set(values)) > 0


def test_some_learners_want_no_messages() -> None:
    switches = [learner_document(ADA, number)["preferences"]["notifications"] for number in range(14)]
    assert sum(not each["email_course_updates"] for each in switches) == 2


def test_what_agrees_with_the_ledger_has_no_difference(
    simulation: Simulation, shown: StoredDocuments
) -> None:
    assert compare_statistics(simulation, shown) == []


@pytest.mark.parametrize("collection", ["courses", "users", "notifications", "billing"])
def test_a_document_that_is_missing_is_a_difference(
    simulation: Simulation, shown: StoredDocuments, collection: str
) -> None:
    documents = dict(getattr(shown, collection))
    documents.popitem()
    assert compare_statistics(simulation, replace(shown, **{collection: documents}))


def test_a_document_that_must_not_be_there_is_a_difference(
    simulation: Simulation, shown: StoredDocuments
) -> None:
    stub = simulation.documents(Timing.NEVER)[0].document
    assert compare_statistics(simulation, replace(shown, courses={**shown.courses, str(stub["_id"]): stub}))


def test_every_figure_of_a_course_is_compared(simulation: Simulation, shown: StoredDocuments) -> None:
    key, document = next(iter(shown.courses.items()))
    for figure in (
        "enrolled",
        "active",
        "completed",
        "progress",
        "rated",
        "rating",
        "stars_2",
        "questions_asked",
    ):
        sums = Counted(**document["stats"]["sums"])
        wrong = sums._replace(**{figure: getattr(sums, figure) + 100})
        changed = {**document, "stats": course_stats(wrong)}
        differences = compare_statistics(simulation, replace(shown, courses={**shown.courses, key: changed}))
        assert {difference.subject for difference in differences} == {f"course {key}"}


def test_a_figure_of_the_platforms_that_was_lost_is_a_difference(
    simulation: Simulation, shown: StoredDocuments
) -> None:
    instructor = next(each for each in simulation.totals.instructors if each.user_id in shown.users)
    document = shown.users[instructor.user_id]
    stats = {name: value for name, value in document["stats"].items() if name != "profile_views"}
    users = {**shown.users, instructor.user_id: {**document, "stats": stats}}
    differences = compare_statistics(simulation, replace(shown, users=users))
    assert [difference.field for difference in differences] == ["profile_views"]


def test_a_row_that_only_a_replay_would_suppress_is_a_difference(
    simulation: Simulation, shown: StoredDocuments
) -> None:
    key, row = next(iter(shown.notifications.items()))
    rows = {**shown.notifications, key: {**row, "status": "suppressed", "channel": None}}
    assert len(compare_statistics(simulation, replace(shown, notifications=rows))) == 1
    switched_off = {**shown.notifications, key: {**row, "status": "suppressed", "channel": "mail"}}
    assert not compare_statistics(simulation, replace(shown, notifications=switched_off))


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    """Of a platform that keeps courses and users by itself, and publishes nothing of them."""
    return simulate(seed=7, records=5_000, with_platform=False)


@pytest.fixture(scope="module")
def shown(simulation: Simulation) -> StoredDocuments:
    """What a correct worker makes of the simulation, by the worker's own pure parts."""
    written = {str(each.document["_id"]): each for each in simulation.documents(Timing.BEFORE, Timing.AFTER)}
    by_course = {
        each.course_id: counted(simulation, "course_id", each.course_id) for each in simulation.ledger
    }
    courses = {
        course: {**written[course].document, "stats": course_stats(sums)}
        for course, sums in by_course.items()
        if course in written
    }
    users: dict[str, Document] = {}
    for user_id, each in written.items():
        if each.collection == "users":
            taught = [
                course
                for course, document in courses.items()
                if document["instructor_id"] == each.document["_id"]
            ]
            sums = sum((by_course[course] for course in taught), Counted())
            users[user_id] = user(
                simulation, each.document, teaching(simulation, taught, sums) if taught else None
            )
    return StoredDocuments(courses, users, outbox(simulation), billing(simulation))


def counted(simulation: Simulation, path: str, key: str) -> Counted:
    return sum((vector(each) for each in simulation.ledger if getattr(each, path) == key), Counted())


def teaching(simulation: Simulation, courses: list[str], sums: Counted) -> Teaching:
    entries = [each for each in simulation.ledger if each.course_id in courses]
    students = len({each.user_id for each in entries})
    paid = sum(Decimal(each.amount) for each in entries if each.amount is not None)
    taught = Taught(sums.enrolled, sums.rated, sums.rating, students, len(courses))
    return Teaching(taught, {"EUR": int(paid * 10_000)})


def vector(entry: LedgerEntry) -> Counted:
    stars = {f"stars_{entry.stars}": 1, "rated": 1, "rating": entry.stars * 100} if entry.stars else {}
    return Counted(
        enrolled=1,
        active=int(not entry.dropped and not entry.finished),
        completed=int(entry.finished),
        progress=entry.percentage,
        discussion_posts=entry.discussion_posts,
        questions_asked=entry.questions_asked,
        certificates=entry.certificates,
        **stars,
    )


def user(simulation: Simulation, document: Document, taught: Teaching | None) -> Document:
    user_id = str(document["_id"])
    log = [
        {"action": "course_enrollment", "course_id": ObjectId(each.course_id)}
        for each in simulation.ledger
        if each.user_id == user_id
    ]
    stats = user_stats(counted(simulation, "user_id", user_id), taught)
    return {**document, "stats": {**document.get("stats", {}), **stats}, "activity_log": log}


def outbox(simulation: Simulation) -> dict[str, Document]:
    rows: list[Document] = []
    for each in simulation.ledger:
        stream = f"course_{each.course_id}_user_{each.user_id}"
        for kind in ("welcome", "completion") if each.finished else ("welcome",):
            row = notification_row(
                kind, stream, ObjectId(), ObjectId(), by="live", data={}, now=ObjectId().generation_time
            )
            rows.append({**row, "status": "sent", "channel": "log"})
    return {row["_id"]: row for row in rows}


def billing(simulation: Simulation) -> dict[str, Document]:
    return {
        each.transaction_id: {
            "user_id": ObjectId(each.user_id),
            "course_id": ObjectId(each.course_id),
            "amount": each.amount,
            "status": "completed",
        }
        for each in simulation.ledger
        if each.transaction_id
    }
