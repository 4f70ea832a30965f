"""The activity log: each enrolment once, others' entries kept, bounded, in the order of what happened."""

from collections.abc import Sequence
from typing import Any

import pytest
from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.counts import ActivityEntry, is_crowded, merged_log
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


def test_an_enrolment_dated_again_moves() -> None:
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


def test_entries_of_others_are_never_let_go() -> None:
    log: list[Any] = [{"action": "login", "timestamp": moment(number)} for number in range(2 * LOG_CAP)]
    merged = merged_log(log, [ActivityEntry(COURSES[0], moment(50.5))])
    assert [each for each in merged if each["action"] == "login"] == log
    assert merged.index(entry(COURSES[0], 50.5)) == 51


MANY = [ObjectId(number.to_bytes(12, "big")) for number in range(LOG_CAP + 20)]
OTHERS: list[Any] = ["text", {"action": "login", "timestamp": moment(7)}, None]


def counted(arrivals: Sequence[ActivityEntry], sizes: Sequence[int]) -> list[Any]:
    """The log after the enrolments arrived in this order, some at a time, as counting writes it."""
    log: list[Any] = list(OTHERS)
    known: dict[ObjectId, ActivityEntry] = {}
    waiting = list(arrivals)
    for size in [*sizes, len(waiting)]:
        some = {each.course_id: each for each in waiting[:size]}
        del waiting[:size]
        known |= some
        entries = known if is_crowded(log, some.values()) else some
        log = merged_log(log, entries.values())
    return log


@pytest.mark.slow
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_last_enrolments_of_any_number_stand_in_the_log_in_any_order_of_arrival(
    data: st.DataObject,
) -> None:
    """Few moments, so that many began at the same one; some courses are dated anew, earlier or later."""
    dates = [moment(data.draw(st.integers(0, 15))) for _ in MANY]
    last = [ActivityEntry(course, at) for course, at in zip(MANY, dates, strict=True)]
    earlier = [
        ActivityEntry(each, moment(data.draw(st.integers(0, 15))))
        for each in data.draw(st.lists(st.sampled_from(MANY), max_size=30, unique=True))
    ]
    arrivals = [*data.draw(st.permutations(earlier)), *data.draw(st.permutations(last))]
    log = counted(arrivals, data.draw(st.lists(st.integers(1, 40), max_size=20)))
    assert log == counted(last, [])
    shown = [(each["timestamp"], each["course_id"]) for each in log if each not in OTHERS]
    assert shown == sorted((each.timestamp, each.course_id) for each in last)[-LOG_CAP:]
    assert [each for each in log if each in OTHERS] == OTHERS


def test_what_is_no_log_and_entries_without_a_time_are_no_obstacle() -> None:
    assert merged_log("none", [ActivityEntry(COURSES[0], moment(1))]) == [entry(COURSES[0], 1)]
    odd: list[Any] = [
        "text",
        {"timestamp": "yesterday"},
        None,
        {"action": "course_enrollment", "course_id": {}},
    ]
    assert merged_log(odd, [ActivityEntry(COURSES[0], moment(1))]) == [*odd, entry(COURSES[0], 1)]
