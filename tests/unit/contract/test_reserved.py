"""Reserved ids: whose they are is seen in the name of a stream alone, and nobody else gets one."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from worker.contract.identity import parse_stream_id, stream_id
from worker.contract.reserved import (
    CANARY_COURSE,
    CANARY_LESSON,
    NOT_RESERVED,
    RESERVED,
    canary_learner,
    canary_stream,
    is_reserved,
)

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
OBJECT_IDS = st.binary(min_size=12, max_size=12).map(ObjectId)


def test_a_day_has_one_stream_and_the_next_day_another() -> None:
    of_the_day = {canary_stream(NOON.replace(hour=hour)) for hour in range(24)}

    assert of_the_day == {canary_stream(NOON)}
    assert canary_stream(NOON + timedelta(days=1)) not in of_the_day
    assert parse_stream_id(canary_stream(NOON)) == {
        "course_id": CANARY_COURSE,
        "user_id": canary_learner(NOON),
    }


def test_days_are_those_of_utc_wherever_the_clock_is() -> None:
    evening = datetime.fromisoformat("2026-11-28T23:30:00-02:00")

    assert canary_learner(evening) == canary_learner(NOON)


def test_every_day_up_to_2149_has_a_reserved_id_of_its_own() -> None:
    days = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=number) for number in range(2**16)]
    ids = {canary_learner(day) for day in days}

    assert len(ids) == len(days)
    assert all(str(each).startswith(RESERVED) for each in ids)
    assert days[-1].year == 2149


def test_the_spelling_is_documented_and_never_changes() -> None:
    assert bytes.fromhex(RESERVED) == bytes(4) + b"CANARY"
    assert str(CANARY_COURSE) == "0000000043414e4152590000"
    assert str(CANARY_LESSON) == "0000000043414e4152590001"
    assert str(canary_learner(NOON)) == "0000000043414e4152595132"


@given(OBJECT_IDS, OBJECT_IDS)
def test_one_reserved_id_is_enough_and_any_other_is_nobodys(course: ObjectId, user: ObjectId) -> None:
    ours = str(course).startswith(RESERVED) or str(user).startswith(RESERVED)

    assert is_reserved(stream_id(course, user)) is ours
    assert is_reserved(stream_id(CANARY_COURSE, user))
    assert is_reserved(stream_id(course, canary_learner(NOON)))


@given(OBJECT_IDS, OBJECT_IDS)
def test_the_filter_for_mongodb_says_the_same(course: ObjectId, user: ObjectId) -> None:
    pattern = NOT_RESERVED["stream_id"]["$not"]["$regex"]
    for stream in (stream_id(course, user), stream_id(CANARY_COURSE, user)):
        assert is_reserved(stream) is bool(re.search(pattern, stream))


def test_the_letters_inside_an_id_reserve_nothing() -> None:
    inside = ObjectId(f"ff{RESERVED}ff")

    assert not is_reserved(stream_id(inside, inside))


@pytest.mark.parametrize("value", [None, 7, b"course", {"_0000000043414e415259": 1}])
def test_what_is_no_name_of_a_stream_is_not_reserved(value: object) -> None:
    assert not is_reserved(value)


def test_an_id_that_a_program_makes_is_never_reserved() -> None:
    assert not str(ObjectId()).startswith(RESERVED[:8])
