"""What has a cap keeps the same part of a large stream in any order of arrival."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from bson import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.event import StoredEvent
from projections.progress import apply, fold, render
from projections.progress.state import CERTIFICATES_CAP, COUNTED_CAP, LESSONS_CAP, NOTES_CAP, SESSIONS_CAP
from tests.unit.projections.events import arrive, content, event, event_sets, lesson_id, moment, split


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def folded(events: Sequence[StoredEvent], seed: int) -> dict[str, Any]:
    """The document after the events in an order and in batches that `seed` decides."""
    chance = random.Random(seed)  # noqa: S311  (a repeatable order of arrival, no secret)
    shuffled = chance.sample(events, len(events))
    document: dict[str, Any] | None = None
    for batch in split(arrive(shuffled), [chance.randrange(len(events)) for _ in range(20)]):
        document = fold(document, batch, "live")
    return document or {}


def same_in_three_orders(events: Sequence[StoredEvent]) -> dict[str, Any]:
    first, second, third = (folded(events, seed) for seed in range(3))
    assert content(first) == content(second) == content(third)
    return first


def smallest(keys: Sequence[str], cap: int) -> set[str]:
    return set(sorted(keys, key=sha1)[:cap])


def test_the_lessons_of_smallest_hash_are_kept_whole() -> None:
    numbers = range(LESSONS_CAP + 60)
    events = [event("view", n, lesson=n, value=1, details={"time_spent": 2}) for n in numbers]
    events += [event("complete", 9000 + n, lesson=n) for n in numbers if n % 2]
    document = same_in_three_orders(events)
    entries = document["lesson_progress"]
    kept = smallest([str(lesson_id(n)) for n in numbers], LESSONS_CAP)
    assert {str(entry["lesson_id"]) for entry in entries} == kept
    assert {entry["time_spent"] for entry in entries} == {2.0}
    assert document["time_tracking"]["total_seconds"] == 2.0 * len(numbers)
    assert document["progress"]["completed_lessons"] == sum(number % 2 for number in numbers)


@pytest.mark.parametrize(
    ("done", "percentage"), [(1_199, 99.91), (1_200, 100.0), (600, 50.0)], ids=["all but one", "all", "half"]
)
def test_lessons_count_beyond_those_that_have_an_entry(done: int, percentage: float) -> None:
    events = [event("course_enrolled", details={"total_lessons": 1_200})]
    events += [event("complete", 1 + n, lesson=n) for n in range(done)]
    document = same_in_three_orders(events)
    assert document["progress"]["percentage"] == percentage
    assert document["progress"]["completed_lessons"] == done
    reached = {"at": moment(1_200), "percentage": 100.0, "by": "live"} if done == 1_200 else None
    assert document["milestones"]["completed"] == reached


def test_parts_of_lessons_count_beyond_those_that_have_an_entry() -> None:
    events = [event("course_enrolled", details={"total_lessons": 1_200})]
    events += [event("view", 1, lesson=n, value=1, details={"progress": 0.5}) for n in range(1_200)]
    events += [event("view", 2, lesson=n, value=1, details={"progress": 0.75}) for n in range(600)]
    assert same_in_three_orders(events)["progress"]["percentage"] == 62.5


@pytest.mark.slow
def test_completions_are_exact_up_to_the_largest_course_of_the_contract() -> None:
    events = [event("course_enrolled", details={"total_lessons": COUNTED_CAP})]
    events += [event("complete", 1 + n, lesson=n) for n in range(COUNTED_CAP)]
    nearly = fold(None, arrive(events[:-1]), "live")
    assert nearly["progress"]["percentage"] == 99.98
    assert nearly["milestones"]["completed"] is None
    document = fold(nearly, arrive(events[-1:], after=COUNTED_CAP), "live")
    assert document["progress"]["percentage"] == 100.0
    assert document["progress"]["completed_lessons"] == COUNTED_CAP
    assert document["milestones"]["completed"]["at"] == moment(COUNTED_CAP)
    assert len(encode(document["state"])) < 400_000
    assert content(document) == content(fold(None, arrive(reversed(events)), "live"))


@pytest.mark.slow
def test_more_lessons_than_count_keep_the_same_ones_in_any_order() -> None:
    events = [event("course_enrolled", details={"total_lessons": COUNTED_CAP})]
    events += [
        event("view", n, lesson=n, value=1, details={"progress": 0.5}) for n in range(COUNTED_CAP + 30)
    ]
    events += [event("complete", 9_000 + n, lesson=n) for n in range(0, COUNTED_CAP + 30, 2)]
    document = same_in_three_orders(events)
    assert document["progress"]["completed_lessons"] == (COUNTED_CAP + 30) // 2


@pytest.mark.slow
@given(event_sets(), st.data())
@settings(max_examples=200, deadline=None)
def test_caps_that_are_met_all_the_time_keep_the_same_in_any_order(
    events: list[StoredEvent], data: st.DataObject
) -> None:
    """Four lessons, of which two have an entry, three count and two may be at 100 %."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apply, "LESSONS_CAP", 2)
        for name, cap in (("MORE_LESSONS", 1), ("FULL_LESSONS", 2)):
            for module in (apply, render):
                patch.setattr(module, name, replace(getattr(module, name), cap=cap))
        at_once = fold(None, arrive(events), "live")
        shuffled = data.draw(st.permutations(events))
        document: dict[str, Any] | None = None
        for batch in split(arrive(shuffled), data.draw(st.lists(st.integers(1, len(events)), max_size=6))):
            document = fold(document, batch, "live")
    assert content(document or {}) == content(at_once)


def test_lessons_seen_later_do_not_take_a_completion_back() -> None:
    numbers = range(LESSONS_CAP + 60)
    dropped = next(n for n in numbers if str(lesson_id(n)) not in kept_of(numbers))
    finished = [event("course_enrolled", details={"total_lessons": 1}), event("complete", 1, lesson=dropped)]
    document = same_in_three_orders([*finished, *(event("lesson_view", 2, lesson=n) for n in numbers)])
    assert lesson_id(dropped) not in {entry["lesson_id"] for entry in document["lesson_progress"]}
    assert document["milestones"]["completed"] == {"at": moment(1), "percentage": 100.0, "by": "live"}
    assert document["progress"]["percentage"] == 100.0


def kept_of(numbers: Sequence[int]) -> set[str]:
    return smallest([str(lesson_id(number)) for number in numbers], LESSONS_CAP)


def test_notes_are_kept_for_the_lessons_of_smallest_hash() -> None:
    numbers = range(NOTES_CAP + 40)
    document = same_in_three_orders(
        [event("lesson_note_saved", n, lesson=n, details={"text": f"note {n}"}) for n in numbers]
    )
    with_notes = {str(entry["lesson_id"]) for entry in document["lesson_progress"] if entry["notes"]}
    assert with_notes == smallest([str(lesson_id(number)) for number in numbers], NOTES_CAP)
    assert len(document["lesson_progress"]) == len(numbers)


def test_the_last_certificates_are_kept() -> None:
    def issued(at: int, code: int) -> StoredEvent:
        details = {"certificate_url": f"https://c.example/{at}", "verification_code": f"C{code}"}
        return event("certificate_issued", at, details=details)

    codes = range(CERTIFICATES_CAP + 10)
    document = same_in_three_orders([*(issued(code, code) for code in codes), issued(1000, 3)])
    kept = [certificate["verification_code"] for certificate in document["certificates"]]
    assert kept == [f"C{code}" for code in codes[-CERTIFICATES_CAP + 1 :]] + ["C3"]
    assert document["certificates"][-1]["certificate_url"] == "https://c.example/1000"


def test_the_last_payment_is_shown_and_all_are_counted() -> None:
    def paid(at: int, number: int) -> StoredEvent:
        payment = {"transaction_id": f"t.{number}", "amount": "9", "currency": "EUR", "method": "card"}
        return event("course_enrolled", at, details={"payment": payment})

    document = same_in_three_orders([*(paid(number, number) for number in range(30)), paid(1000, 3)])
    assert document["payment_data"]["transaction_id"] == "t.3"
    assert document["state"]["payments_named"] == 31


def session_events(count: int) -> list[StoredEvent]:
    """`count` sessions of 10 s each."""
    return [
        event("discussion_posted", 1000 * number + at, session_id=f"session {number}")
        for number in range(count)
        for at in (0, 10)
    ]


def test_sessions_up_to_the_cap_are_counted_exactly() -> None:
    tracking = same_in_three_orders(session_events(SESSIONS_CAP))["time_tracking"]
    assert tracking["session_count"] == SESSIONS_CAP


@pytest.mark.parametrize("count", [SESSIONS_CAP + 1, 1000])
def test_sessions_beyond_the_cap_are_estimated_from_the_smallest_hashes(count: int) -> None:
    document = same_in_three_orders(session_events(count))
    keys = sorted(sha1(f"session {number}")[:16] for number in range(count))[:SESSIONS_CAP]
    assert sorted(document["state"]["sessions"]) == keys
    tracking = document["time_tracking"]
    assert tracking["session_count"] == max(SESSIONS_CAP + 1, 199 * 2**64 // int(keys[-1], 16))
    assert tracking["session_count"] == pytest.approx(count, rel=0.2)
    assert tracking["average_session_duration"] == tracking["longest_session"] == 10.0
