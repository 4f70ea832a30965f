"""One example for each line of the contract's table: what the event does to the learner's record."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import bson
import pytest

from projections.event import StoredEvent
from projections.progress import fold
from tests.unit.projections.events import arrive, event, lesson_id, moment
from worker.contract.identity import stream_slot
from worker.contract.times import parse_time
from worker.storage.database import CODEC_OPTIONS


def record(*events: StoredEvent) -> dict[str, Any]:
    return fold(None, arrive(events), "live")


def lesson(document: dict[str, Any]) -> dict[str, Any]:
    """The only lesson of a document."""
    (entry,) = document["lesson_progress"]
    return dict(entry)


def enrolled(total: int | None = None, at: float = 0) -> StoredEvent:
    return event("course_enrolled", at, details={} if total is None else {"total_lessons": total})


def quiz(score: float, at: float = 0, *, number: int = 1, **details: Any) -> StoredEvent:
    return event("quiz_submitted", at, number=number, lesson=1, details={"score": score, **details})


def test_an_enrolment_creates_an_active_record() -> None:
    first = enrolled(65, at=60)
    document = record(first)
    assert document["status"] == "active"
    assert document["enrollment_date"] == document["created_at"] == moment(60)
    assert document["progress"] == {
        "percentage": 0.0,
        "completed_lessons": 0,
        "total_lessons": 65,
        "current_lesson_id": None,
        "basis": "curriculum",
    }
    assert (document["user_id"], document["course_id"]) == (first.user_id, first.course_id)
    assert document["slot"] == stream_slot(first.stream_id)


def test_the_curriculum_stored_with_the_enrolment_says_how_many_lessons_there_are() -> None:
    document = record(event("course_enrolled", curriculum={"total_lessons": 12}))
    assert document["progress"]["total_lessons"] == 12


def test_the_enrolment_itself_outranks_the_curriculum() -> None:
    document = record(
        event("course_enrolled", details={"total_lessons": 3}, curriculum={"total_lessons": 12})
    )
    assert document["progress"]["total_lessons"] == 3


def test_an_empty_curriculum_says_nothing() -> None:
    document = record(event("course_enrolled", curriculum={"total_lessons": 0}))
    assert document["progress"]["total_lessons"] is None
    assert document["progress"]["basis"] == "observed"


def test_the_latest_enrolment_with_a_total_decides() -> None:
    document = record(enrolled(10, at=0), enrolled(12, at=5), enrolled(None, at=9))
    assert document["progress"]["total_lessons"] == 12


def test_a_first_activity_before_the_enrolment_is_an_active_record_too() -> None:
    document = record(event("lesson_view", 5, lesson=1))
    assert document["status"] == "active"
    assert document["enrollment_date"] == moment(5)
    assert document["milestones"]["welcome"] is None


def test_the_enrolment_fills_in_the_rest_when_it_arrives() -> None:
    document = record(event("lesson_view", 5, lesson=1), enrolled(2, at=7))
    assert document["enrollment_date"] == moment(7)
    assert document["created_at"] == moment(5)


def test_who_left_the_course_is_dropped_until_the_next_enrolment() -> None:
    left = event("course_unenrolled", 10)
    assert record(enrolled(), left)["status"] == "dropped"
    assert record(enrolled(), left, event("lesson_view", 11, lesson=1))["status"] == "dropped"
    assert record(left, enrolled(at=0))["status"] == "dropped"
    assert record(enrolled(), left, enrolled(at=11))["status"] == "active"


def test_an_opened_lesson_is_in_progress_current_and_counts_attempts() -> None:
    document = record(event("lesson_started", 1, lesson=7), event("lesson_started", 2, lesson=7))
    assert document["progress"]["current_lesson_id"] == lesson_id(7)
    assert lesson(document) == {
        "lesson_id": lesson_id(7),
        "status": "in_progress",
        "progress_percentage": 0.0,
        "time_spent": 0.0,
        "attempts": 2,
        "started_at": moment(1),
        "completed_at": None,
        "quiz_results": None,
        "assignment_grade": None,
        "notes": None,
    }


def test_a_shown_lesson_is_activity_and_current() -> None:
    document = record(event("lesson_started", 1, lesson=7), event("lesson_view", 9, lesson=8))
    assert document["progress"]["current_lesson_id"] == lesson_id(8)
    assert document["last_accessed"] == document["updated_at"] == moment(9)
    assert document["time_tracking"]["last_activity"] == moment(9)


@pytest.mark.parametrize("name", ["view", "pause", "seek"])
def test_a_media_interaction_adds_time_and_raises_the_lesson(name: str) -> None:
    document = record(
        event(name, 1, lesson=1, value=3.5, details={"time_spent": 0.1, "progress": 0.4}),
        event(name, 2, lesson=1, value=4.5, details={"time_spent": 0.2, "progress": 0.2999}),
    )
    assert lesson(document)["time_spent"] == 0.3
    assert lesson(document)["progress_percentage"] == 40.0
    assert lesson(document)["status"] == "in_progress"
    assert document["time_tracking"]["total_seconds"] == 0.3
    assert document["progress"]["current_lesson_id"] == lesson_id(1)


def test_progress_counts_in_media_interactions_only() -> None:
    document = record(event("lesson_view", lesson=1, details={"progress": 0.9}))
    assert lesson(document)["progress_percentage"] == 0.0


def test_a_finished_lesson_is_completed_once() -> None:
    document = record(event("complete", 9, lesson=1), event("complete", 4, lesson=1))
    assert lesson(document)["status"] == "completed"
    assert lesson(document)["progress_percentage"] == 100.0
    assert lesson(document)["completed_at"] == moment(4)
    assert document["progress"]["completed_lessons"] == 1
    assert document["last_accessed"] == moment(9)


def test_a_lesson_seen_to_the_end_but_not_finished_stays_in_progress() -> None:
    document = record(enrolled(1), event("view", 1, lesson=1, value=1, details={"progress": 1}))
    assert lesson(document)["status"] == "in_progress"
    assert lesson(document)["progress_percentage"] == 100.0
    assert document["progress"]["completed_lessons"] == 0
    assert document["progress"]["percentage"] == 100.0


def test_a_reported_percentage_is_a_floor_and_adds_its_time() -> None:
    document = record(
        event("progress_updated", details={"new_progress": 68.2, "old_progress": 65.5, "time_spent": 180}),
        event("progress_updated", 5, details={"new_progress": 20, "old_progress": 0, "time_spent": 20}),
    )
    assert document["progress"]["percentage"] == 68.2
    assert document["time_tracking"]["total_seconds"] == 200.0


def test_a_quiz_shows_its_latest_attempt_and_counts_all() -> None:
    document = record(
        quiz(85, 9, number=2, total_questions=5, correct_answers=4, time_taken=180.5), quiz(60, 3)
    )
    assert lesson(document)["quiz_results"] == {
        "score": 85.0,
        "total_questions": 5,
        "correct_answers": 4,
        "time_taken": 180.5,
        "attempts": 2,
    }
    assert document["performance"]["quiz_average"] == 72.5


def test_a_quiz_that_says_only_its_score_leaves_the_rest_null() -> None:
    results = lesson(record(quiz(33.335)))["quiz_results"]
    assert results == {
        "score": 33.34,
        "total_questions": None,
        "correct_answers": None,
        "time_taken": None,
        "attempts": 1,
    }


def test_the_assignment_average_takes_the_latest_grade_of_each_lesson() -> None:
    document = record(
        event("assignment_graded", 5, lesson=1, value=90),
        event("assignment_graded", 1, lesson=1, value=10),
        event("assignment_graded", 3, lesson=2, value=95),
    )
    assert document["performance"] == {"quiz_average": None, "assignment_average": 92.5}
    assert [entry["assignment_grade"] for entry in document["lesson_progress"]] == [90.0, 95.0]


@pytest.mark.parametrize(
    ("name", "counter"),
    [
        ("discussion_posted", "discussion_posts"),
        ("question_asked", "questions_asked"),
        ("answer_given", "answers_given"),
        ("peer_interaction", "peer_interactions"),
        ("study_group_joined", "study_group_participations"),
    ],
)
def test_a_social_event_raises_its_counter_only(name: str, counter: str) -> None:
    social = record(event(name, 1), event(name, 2))["social"]
    assert social.pop(counter) == 2
    assert list(social.values()) == [0, 0, 0, 0]


def paid(at: float, transaction_id: str, amount: str) -> StoredEvent:
    payment = {"transaction_id": transaction_id, "amount": amount, "currency": "EUR", "method": "card"}
    return event("course_enrolled", at, details={"payment": payment})


def test_the_latest_payment_is_shown_as_the_producer_wrote_it() -> None:
    document = record(paid(9, "t-2", "19.90"), enrolled(at=12), paid(3, "t-1", "5"))
    assert document["payment_data"] == {
        "transaction_id": "t-2",
        "amount": "19.90",
        "currency": "EUR",
        "method": "card",
    }
    assert record(enrolled())["payment_data"] is None


def test_of_a_transaction_named_twice_the_later_naming_is_shown() -> None:
    document = record(paid(2, "t.1", "6"), paid(1, "t.1", "5"))
    assert document["payment_data"]["amount"] == "6"
    assert document["state"]["payments_named"] == 2


def test_the_latest_rating_counts() -> None:
    document = record(event("course_rated", 8, value=4.5), event("course_rated", 2, value=1))
    assert document["rating"] == {"value": 4.5, "rated_at": moment(8)}
    assert record(enrolled())["rating"] is None


def test_of_two_events_at_one_moment_the_greater_id_is_the_latest() -> None:
    low, high = event("course_rated", value=2, number=1), event("course_rated", value=3, number=1 << 100)
    assert record(low, high)["rating"]["value"] == record(high, low)["rating"]["value"] == 3.0


def test_a_certificate_is_listed_once_by_its_latest_issue() -> None:
    def issued(at: float, url: str, **details: str) -> StoredEvent:
        return event(
            "certificate_issued",
            at,
            details={"certificate_url": url, "verification_code": "CERT-2024-ABC123", **details},
        )

    (certificate,) = record(
        issued(5, "https://c.example/new", valid_until="2030-01-01T01:00:00.12345+01:00"),
        issued(1, "https://c.example/old", type="honours"),
    )["certificates"]
    # printf 'course_5f0000000000000000000001_user_5f0000000000000000000002CERT-2024-ABC123' | sha1sum
    assert str(certificate.pop("_id")) == "d86e2f89f018db51deec8556"
    assert certificate == {
        "type": "completion",
        "issued_at": moment(5),
        "certificate_url": "https://c.example/new",
        "verification_code": "CERT-2024-ABC123",
        "valid_until": datetime(2030, 1, 1, 0, 0, 0, 123_000, tzinfo=UTC),
    }


def test_the_latest_note_of_a_lesson_is_kept() -> None:
    document = record(
        event("lesson_note_saved", 5, lesson=1, details={"text": "newer"}),
        event("lesson_note_saved", 1, lesson=1, details={"text": "older"}),
    )
    assert lesson(document)["notes"] == "newer"


def test_a_note_whose_text_was_erased_changes_nothing_but_activity() -> None:
    erased = replace(event("lesson_note_saved", 5, lesson=1, details={"text": "gone"}), text=None)
    document = record(event("lesson_note_saved", 1, lesson=1, details={"text": "kept"}), erased)
    assert lesson(document)["notes"] == "kept"
    assert document["last_accessed"] == moment(5)


def test_a_type_this_code_does_not_know_is_activity_and_nothing_else() -> None:
    unknown = replace(
        event("lesson_view", 9, lesson=1, session_id="s", details={"time_spent": 4}),
        event_type="lesson_bookmarked",
    )
    document = record(enrolled(3), unknown)
    assert document["lesson_progress"] == []
    assert document["progress"]["current_lesson_id"] is None
    assert document["last_accessed"] == moment(9)
    assert document["time_tracking"]["total_seconds"] == 4.0
    assert document["time_tracking"]["session_count"] == 1


def test_sessions_run_from_their_first_to_their_last_event() -> None:
    document = record(
        event("discussion_posted", 0, session_id="a"),
        event("discussion_posted", 100, session_id="a"),
        event("discussion_posted", 40, session_id="a"),
        event("discussion_posted", 50, session_id="b"),
        event("discussion_posted", 51, session_id="b"),
        event("discussion_posted", 999),
    )
    assert document["time_tracking"] == {
        "total_seconds": 0.0,
        "session_count": 2,
        "average_session_duration": 50.5,
        "longest_session": 100.0,
        "last_activity": moment(999),
    }


def test_time_spent_counts_in_every_type_of_event_and_in_its_lesson() -> None:
    document = record(
        event("discussion_posted", 0, lesson=1, details={"time_spent": 1.5}),
        event("question_asked", 0, details={"time_spent": 2}),
        event("answer_given", 0, details={"time_spent": "long"}),
    )
    assert document["time_tracking"]["total_seconds"] == 3.5
    assert lesson(document)["time_spent"] == 1.5


def test_lessons_are_listed_by_their_start_then_by_their_id() -> None:
    document = record(
        event("lesson_started", 5, lesson=1),
        event("lesson_view", 2, lesson=3),
        event("complete", 2, lesson=2),
    )
    assert [entry["lesson_id"] for entry in document["lesson_progress"]] == [
        lesson_id(2),
        lesson_id(3),
        lesson_id(1),
    ]


@pytest.mark.parametrize(
    "until", ["9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00.000Z", "2034-01-15t01:00:00+01:00"]
)
def test_a_certificate_that_never_expires_is_shown_with_its_date(until: str) -> None:
    """In the one spelling, and as an older release stored it; MongoDB holds the date and gives it back."""
    details = {"certificate_url": "https://c.example/1", "verification_code": "C1", "valid_until": until}
    document = record(event("certificate_issued", details=details))
    stored = bson.decode(bson.encode(document, codec_options=CODEC_OPTIONS), CODEC_OPTIONS)
    (certificate,) = stored["certificates"]
    assert certificate["valid_until"] == parse_time(until)
