"""How large, deep and wide `details` may be, and which keys they may have."""

import re
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.contract.records import accepted, fields, refused
from worker.contract.codec import encode
from worker.contract.limits import Limits
from worker.contract.rejection import RejectReason


def _nested(levels: int) -> Any:
    nested: Any = {}
    for level in range(levels - 1):
        nested = {"a": nested} if level % 2 else [nested]
    return {"a": nested}


def test_details_of_exactly_64_kib_are_accepted() -> None:
    record = fields("question_asked", details={"a": "x" * (64 * 1024 - 8)})
    assert len(accepted(record).details["a"]) == 64 * 1024 - 8


def test_details_over_64_kib_are_refused() -> None:
    record = fields("question_asked", details={"a": "x" * (64 * 1024 - 7)})
    assert refused(record) == (RejectReason.DETAILS_TOO_LARGE, "details")


def test_white_space_does_not_count_for_the_size_of_details() -> None:
    record = b'{"details": {%s}, "event_type": "void"}' % (b" " * 100_000)
    assert refused(record) == (RejectReason.UNKNOWN_EVENT_TYPE, "event_type")


@given(
    st.lists(
        st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**50), 2**50)),
        max_size=30,
    )
)
@settings(deadline=None)
def test_what_is_accepted_is_within_the_limit_however_short_it_was_written(values: list[Any]) -> None:
    """By how much numbers grow decides which records are not measured at all."""
    record = encode(fields("question_asked", details={"a": values}))
    shorter = re.sub(rb"(\d)(0+)\.0\b", lambda zeros: b"%se%d" % (zeros[1], len(zeros[2])), record)
    size = len(orjson.dumps({"a": values}))
    assert refused(shorter, limits=Limits(max_details_bytes=size - 1)) == (
        RejectReason.DETAILS_TOO_LARGE,
        "details",
    )
    accepted(shorter, limits=Limits(max_details_bytes=size))


def test_numbers_that_are_sent_short_and_stored_long_count_as_they_are_stored() -> None:
    record = encode(fields("question_asked", details={"a": [1e15] * 3_500})).replace(
        b"1000000000000000.0", b"1e15"
    )
    assert len(record) < 20_000
    assert refused(record) == (RejectReason.DETAILS_TOO_LARGE, "details")


def test_sixteen_levels_are_accepted() -> None:
    assert accepted(fields("question_asked", details=_nested(15))).details == _nested(15)


@pytest.mark.parametrize("levels", [16, 20, 40])
def test_more_than_sixteen_levels_are_refused(levels: int) -> None:
    record = fields("question_asked", details=_nested(levels))
    assert refused(record) == (RejectReason.DETAILS_TOO_DEEP, "details")


def test_256_keys_are_accepted() -> None:
    details = {f"k{number}": 0 for number in range(256)}
    assert accepted(fields("question_asked", details=details)).details == details


def test_more_than_256_keys_are_refused_wherever_they_stand() -> None:
    flat = {f"k{number}": 0 for number in range(257)}
    spread = {"a": [{"b": number} for number in range(256)]}
    for details in (flat, spread):
        record = fields("question_asked", details=details)
        assert refused(record) == (RejectReason.DETAILS_TOO_MANY_KEYS, "details")


@pytest.mark.parametrize("key", ["a\0b", "\0", "$set", "$", "a.b", ".", "a."])
def test_a_key_that_bson_or_mongodb_cannot_hold_is_refused(key: str) -> None:
    for details in ({key: 1}, {"a": [{"b": {key: 1}}]}):
        record = fields("question_asked", details=details)
        assert refused(record) == (RejectReason.DETAILS_BAD_KEY, "details")


@pytest.mark.parametrize("key", ["a$b", "a$", "", "é", " ", "_id", "toString"])
def test_any_other_key_is_accepted(key: str) -> None:
    assert accepted(fields("question_asked", details={key: 1})).details == {key: 1}


def test_nul_in_a_value_is_kept() -> None:
    event = accepted(fields("question_asked", details={"a": "x\0y"}, session_id="s\0"))
    assert (event.details, event.session_id) == ({"a": "x\0y"}, "s\0")
