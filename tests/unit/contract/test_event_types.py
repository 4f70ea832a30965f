"""What each event type needs, one rule after the other."""

from typing import Any

import pytest

from tests.unit.contract.records import EXAMPLES, accepted, fields, refused, with_details, without
from worker.contract.events.interactions import EVENT_TYPES, MODELS
from worker.contract.rejection import RejectReason

LESSON_TYPES = (
    "lesson_started",
    "lesson_view",
    "view",
    "pause",
    "seek",
    "complete",
    "quiz_submitted",
    "assignment_graded",
    "lesson_note_saved",
)
VALUE_TYPES = ("view", "pause", "seek", "assignment_graded", "course_rated")
NOT_A_STRING: tuple[Any, ...] = (7, 1.5, True, None, [], {})
NOT_A_NUMBER: tuple[Any, ...] = ("1", True, False, None, [], {})
DETAIL_TYPES: dict[tuple[str, str], tuple[Any, ...]] = {
    ("course_enrolled", "total_lessons"): (*NOT_A_NUMBER, 65.5),
    ("course_enrolled", "payment"): ("cash", 1, True, None, []),
    ("view", "time_spent"): NOT_A_NUMBER,
    ("view", "progress"): NOT_A_NUMBER,
    ("pause", "time_spent"): NOT_A_NUMBER,
    ("pause", "progress"): NOT_A_NUMBER,
    ("seek", "time_spent"): NOT_A_NUMBER,
    ("seek", "progress"): NOT_A_NUMBER,
    ("progress_updated", "new_progress"): NOT_A_NUMBER,
    ("progress_updated", "old_progress"): NOT_A_NUMBER,
    ("progress_updated", "time_spent"): NOT_A_NUMBER,
    ("quiz_submitted", "score"): NOT_A_NUMBER,
    ("quiz_submitted", "total_questions"): (*NOT_A_NUMBER, 5.5),
    ("quiz_submitted", "correct_answers"): (*NOT_A_NUMBER, 4.5),
    ("quiz_submitted", "time_taken"): NOT_A_NUMBER,
    ("certificate_issued", "certificate_url"): NOT_A_STRING,
    ("certificate_issued", "verification_code"): NOT_A_STRING,
    ("certificate_issued", "type"): NOT_A_STRING,
    ("certificate_issued", "valid_until"): NOT_A_STRING,
    ("lesson_note_saved", "text"): NOT_A_STRING,
}
LONG_URL = "https://" + "a" * 2041
REQUIRED_DETAILS = (
    ("progress_updated", "new_progress"),
    ("progress_updated", "old_progress"),
    ("progress_updated", "time_spent"),
    ("quiz_submitted", "score"),
    ("certificate_issued", "certificate_url"),
    ("certificate_issued", "verification_code"),
    ("lesson_note_saved", "text"),
)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_the_example_of_every_type_is_accepted(event_type: str) -> None:
    assert accepted(EXAMPLES[event_type]).event_type == event_type


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_type_is_validated_by_the_model_that_names_it(event_type: str) -> None:
    assert event_type in str(MODELS[event_type].model_fields["event_type"].annotation)


@pytest.mark.parametrize("event_type", LESSON_TYPES)
def test_an_event_about_a_lesson_needs_the_lesson(event_type: str) -> None:
    assert refused(without(event_type, "lesson_id")) == (RejectReason.MISSING_FIELD, "lesson_id")


@pytest.mark.parametrize("event_type", [name for name in EVENT_TYPES if name not in LESSON_TYPES])
def test_any_other_event_may_name_a_lesson(event_type: str) -> None:
    assert accepted(fields(event_type, lesson_id="a" * 24)).lesson_id is not None
    assert accepted(without(event_type, "lesson_id")).lesson_id is None


@pytest.mark.parametrize("event_type", VALUE_TYPES)
def test_an_event_that_is_about_a_value_needs_it(event_type: str) -> None:
    assert refused(without(event_type, "value")) == (RejectReason.MISSING_FIELD, "value")


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@pytest.mark.parametrize("wrong", NOT_A_NUMBER)
def test_a_value_is_a_number_in_every_type(event_type: str, wrong: Any) -> None:
    assert refused(fields(event_type, value=wrong)) == (RejectReason.INVALID_FIELD, "value")


@pytest.mark.parametrize(
    ("event_type", "good", "bad"),
    [
        ("view", (0, 0.5, 10_000_000), (-0.1, -1, 10_000_001, 1e300)),
        ("pause", (0, 0.5, 10_000_000), (-0.1, -1, 10_000_001, 1e300)),
        ("seek", (0, 0.5, 10_000_000), (-0.1, -1, 10_000_001, 1e300)),
        ("assignment_graded", (0, 100, 99.5), (-1, 100.01, 101)),
        ("course_rated", (1, 5, 4.5), (0, 0.99, 5.01, 6, -1)),
        ("complete", (0, -1, 1e300), ()),
    ],
)
def test_a_value_stays_within_the_range_of_its_type(
    event_type: str, good: tuple[float, ...], bad: tuple[float, ...]
) -> None:
    for value in good:
        assert accepted(fields(event_type, value=value)).value == value
    for value in bad:
        assert refused(fields(event_type, value=value)) == (RejectReason.INVALID_FIELD, "value")


@pytest.mark.parametrize(
    ("event_type", "key", "wrong"),
    [(*place, wrong) for place, all_ in DETAIL_TYPES.items() for wrong in all_],
)
def test_a_wrong_type_is_refused_in_every_known_detail(event_type: str, key: str, wrong: Any) -> None:
    assert refused(with_details(event_type, **{key: wrong})) == (
        RejectReason.INVALID_FIELD,
        f"details.{key}",
    )


def test_the_wrong_types_cover_every_detail_of_the_examples() -> None:
    shown = {(name, key) for name, event in EXAMPLES.items() for key in event.get("details", {})}
    assert shown == set(DETAIL_TYPES)


@pytest.mark.parametrize(
    ("event_type", "key", "bad"),
    [
        ("course_enrolled", "total_lessons", (0, -1, 5_001)),
        ("view", "time_spent", (-1, 10_000_001)),
        ("view", "progress", (-0.01, 1.01, 50)),
        ("progress_updated", "new_progress", (-1, 100.5)),
        ("progress_updated", "old_progress", (-1, 100.5)),
        ("progress_updated", "time_spent", (-1, 1e12)),
        ("quiz_submitted", "score", (-1, 100.5)),
        ("quiz_submitted", "total_questions", (-1, 1_000_001)),
        ("quiz_submitted", "correct_answers", (-1, 1_000_001)),
        ("quiz_submitted", "time_taken", (-1, 1e12)),
        ("certificate_issued", "certificate_url", ("", "cert.pdf", "javascript:x", "https://a b", LONG_URL)),
        ("certificate_issued", "verification_code", ("c" * 257,)),
        ("certificate_issued", "type", ("t" * 257,)),
        ("certificate_issued", "valid_until", ("2034-01-15", "2034-01-15T00:00:00", "tomorrow")),
        ("lesson_note_saved", "text", ("x" * 4097, "é" * 2049)),
    ],
)  # fmt: skip
def test_a_detail_outside_its_range_is_refused(event_type: str, key: str, bad: tuple[Any, ...]) -> None:
    for value in bad:
        assert refused(with_details(event_type, **{key: value})) == (
            RejectReason.INVALID_FIELD,
            f"details.{key}",
        )


@pytest.mark.parametrize(("event_type", "key"), REQUIRED_DETAILS)
def test_a_detail_the_type_needs_may_not_be_missing(event_type: str, key: str) -> None:
    details = {name: value for name, value in EXAMPLES[event_type]["details"].items() if name != key}
    assert refused(fields(event_type, details=details)) == (RejectReason.MISSING_FIELD, f"details.{key}")
    assert refused(without(event_type, "details")) == (RejectReason.MISSING_FIELD, "details")


OPTIONAL_DETAILS = tuple(place for place in DETAIL_TYPES if place not in REQUIRED_DETAILS)


@pytest.mark.parametrize(("event_type", "key"), OPTIONAL_DETAILS)
def test_any_other_detail_may_be_left_out(event_type: str, key: str) -> None:
    details = {name: value for name, value in EXAMPLES[event_type]["details"].items() if name != key}
    assert accepted(fields(event_type, details=details)).details == details


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_unknown_details_are_kept_as_they_are(event_type: str) -> None:
    own = {"anything": [1, 1.0, None, {"é": True}], "": "an empty key"}
    details = accepted(with_details(event_type, **own)).details
    assert {key: details[key] for key in own} == own


def test_a_detail_known_to_another_type_is_free() -> None:
    assert accepted(with_details("question_asked", score="ten")).details == {"score": "ten"}


def test_an_enrolment_without_the_number_of_lessons_is_accepted() -> None:
    assert accepted(without("course_enrolled", "details")).details == {}


def _payment(**changes: Any) -> dict[str, Any]:
    payment = {**EXAMPLES["course_enrolled"]["details"]["payment"], **changes}
    return with_details("course_enrolled", payment=payment)


@pytest.mark.parametrize("key", ["transaction_id", "amount", "currency", "method"])
@pytest.mark.parametrize("wrong", NOT_A_STRING)
def test_a_wrong_type_is_refused_in_every_part_of_a_payment(key: str, wrong: Any) -> None:
    assert refused(_payment(**{key: wrong})) == (RejectReason.INVALID_FIELD, f"details.payment.{key}")


@pytest.mark.parametrize("key", ["transaction_id", "amount", "currency", "method"])
def test_no_part_of_a_payment_may_be_missing(key: str) -> None:
    record = _payment()
    del record["details"]["payment"][key]
    assert refused(record) == (RejectReason.MISSING_FIELD, f"details.payment.{key}")


@pytest.mark.parametrize(
    "amount", ["", "-1", "1,50", "1.", ".5", "1e3", "NaN", "1.23456", "1" * 13, "1\n", "\u0661"]
)
def test_an_amount_that_is_no_plain_decimal_is_refused(amount: str) -> None:
    assert refused(_payment(amount=amount)) == (RejectReason.INVALID_FIELD, "details.payment.amount")


@pytest.mark.parametrize("currency", ["usd", "US", "USDT", "€", ""])
def test_a_currency_is_three_capital_letters(currency: str) -> None:
    assert refused(_payment(currency=currency)) == (RejectReason.INVALID_FIELD, "details.payment.currency")


def test_a_payment_may_say_more_about_itself() -> None:
    assert accepted(_payment(coupon="WINTER")).details["payment"]["coupon"] == "WINTER"


@pytest.mark.parametrize(
    "more",
    [
        {"method": "4111 1111 1111 1111"},
        {"card": 4111111111111111},
        {"card": {"numbers": ["x", {"pan": "no. 4111-1111-1111-1111!"}]}},
        {"4111111111111111": "key"},
    ],
)
def test_a_card_number_anywhere_in_a_payment_is_refused(more: dict[str, Any]) -> None:
    assert refused(_payment(**more)) == (RejectReason.CARD_NUMBER, "details.payment")


def test_a_note_of_4_kib_is_kept_apart_from_the_details() -> None:
    event = accepted(with_details("lesson_note_saved", text="é" * 2048, colour="red"))
    assert event.text == "é" * 2048
    assert event.details == {"colour": "red"}


def test_only_a_note_has_personal_text() -> None:
    event = accepted(with_details("question_asked", text="kept as any other detail"))
    assert event.text is None
    assert event.details == {"text": "kept as any other detail"}
