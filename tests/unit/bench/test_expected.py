"""The ledger of a run is what the published records add up to."""

from bench.expected import Expected, expected_of
from bench.records import ManyLearners, Workload
from worker.contract.codec import encode
from worker.kafka.files import OutgoingRecord


def record(number: int, user: str, event_type: str, at: str) -> OutgoingRecord:
    fields = {"event_id": f"id-{number}", "event_type": event_type, "course_id": "c", "user_id": user}
    return OutgoingRecord(encode({**fields, "occurred_at": f"2025-09-01T{at}:00.000+00:00"}), None)


def test_whoever_left_last_has_left_in_whatever_order_it_arrives() -> None:
    records = [
        record(1, "stays", "course_unenrolled", "08:00"),
        record(2, "stays", "course_enrolled", "09:00"),
        record(3, "leaves", "course_unenrolled", "09:00"),
        record(4, "leaves", "course_enrolled", "08:00"),
        record(5, "never enrols", "quiz_submitted", "08:00"),
    ]
    for published in (records, records[::-1]):
        assert expected_of(published) == Expected(
            events=5, records=3, enrolments=2, enrolled=2, dropped=1, quizzes=1
        )


def test_a_second_enrolment_is_an_event_more_but_no_learner_more() -> None:
    published = [record(number, "one", "course_enrolled", f"0{number}:00") for number in (1, 2)]
    assert expected_of(published) == Expected(2, 1, enrolments=2, enrolled=1, dropped=0, quizzes=0)


def test_a_payment_that_an_enrolment_names_is_an_event_more_for_whoever_stores_it() -> None:
    fields = {"event_id": "paid", "event_type": "course_enrolled", "course_id": "c", "user_id": "u"}
    details = {"payment": {"transaction_id": "t"}}
    paid = {**fields, "occurred_at": "2025-09-01T08:00:00.000+00:00", "details": details}
    published = [OutgoingRecord(encode(paid), None), record(1, "stays", "course_enrolled", "09:00")]
    expected = expected_of(published)
    assert (expected.events, expected.payments) == (2, 1)


def test_the_ledger_of_many_learners_has_the_shares_they_are_made_with() -> None:
    expected = expected_of(ManyLearners(events=1_200).records())
    assert (expected.events, expected.records) == (1_200, 500)
    assert (expected.enrolments, expected.quizzes) == (180, 960)
    assert expected.enrolled < expected.enrolments
    assert 0 < expected.dropped <= 60


def test_few_learners_all_enrol() -> None:
    expected = expected_of(Workload(events=300, learners=50, courses=3).records())
    assert expected.events == 300
    assert expected.enrolled == expected.records >= 50
