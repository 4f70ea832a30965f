"""The activity log: each enrolment once, others' entries kept, bounded, in the order of what happened."""

from typing import Any

from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from projections.counts import ActivityEntry, merged_log
from projections.counts.activity import LOG_CAP
from tests.unit.projections.events import moment

COURSES = [ObjectId(number.to_bytes(12, "big")) for number in range(5)]
ENTRIES = st.lists(
    st.builds(ActivityEntry, st.sampled_from(COURSES), st.integers(0, 50).map(moment)),
    max_size=8,
    unique_by=lambda entry: entry.course_id,
)


def entry(course: ObjectId, at: float) -> dict[str, Any]:
    return {"action": "course_enrollment", "course_id": course, "timestamp": moment(at)}


def test_an_enrolment_stands_in_the_log_by_its_time() -> None:
    log = [{"action": "login", "timestamp": moment(1)}, {"action": "login", "timestamp": moment(9)}]
    assert merged_log(log, [ActivityEntry(COURSES[0], moment(5))]) == [log[0], entry(COURSES[0], 5), log[1]]


def test_an_enrolment_dated_anew_moves() -> None:
    log = [entry(COURSES[0], 5), entry(COURSES[1], 7)]
    merged = merged_log(log, [ActivityEntry(COURSES[0], moment(8))])
    assert merged == [entry(COURSES[1], 7), entry(COURSES[0], 8)]


@given(ENTRIES, ENTRIES)
def test_the_same_enrolments_in_any_number_of_steps_give_the_same_log(
    first: list[ActivityEntry], second: list[ActivityEntry]
) -> None:
    known = {each.course_id: each for each in [*first, *second]}
    log = merged_log(merged_log(None, first), second)
    assert merged_log(log, second) == log
    assert sorted(each["course_id"] for each in log) == sorted(known)
    assert [each["timestamp"] for each in log] == sorted(each.timestamp for each in known.values())


def test_the_log_keeps_the_last_entries() -> None:
    log: list[Any] = [{"action": "login", "timestamp": moment(number)} for number in range(LOG_CAP)]
    merged = merged_log(log, [ActivityEntry(COURSES[0], moment(50.5))])
    assert len(merged) == LOG_CAP
    assert merged[0] == log[1]
    assert entry(COURSES[0], 50.5) in merged


def test_what_is_no_log_and_entries_without_a_time_are_no_obstacle() -> None:
    assert merged_log("none", [ActivityEntry(COURSES[0], moment(1))]) == [entry(COURSES[0], 1)]
    odd: list[Any] = ["text", {"timestamp": "yesterday"}, None]
    assert merged_log(odd, [ActivityEntry(COURSES[0], moment(1))]) == [*odd, entry(COURSES[0], 1)]
