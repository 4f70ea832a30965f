"""How large, deep and wide `details` may be, and which keys they may have."""

from typing import Any

import pytest

from tests.unit.contract.records import accepted, fields, refused
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
