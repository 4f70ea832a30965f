"""What is no JSON, or JSON that BSON cannot hold, is refused with its own reason."""

import json

import pytest

from tests.unit.contract.records import accepted, fields, refused, with_details
from worker.contract.event import RejectReason
from worker.contract.json_reader import MAX_DEPTH


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"{",
        b"{}x",
        b"{'a': 1}",
        b'{"a": 01}',
        b'{"a": 1,}',
        b'{"a": "\n"}',
        b"\xef\xbb\xbf{}",
        b"nul",
        b'{"a": "\\u12"}',
    ],
)
def test_what_is_not_json_is_refused(value: bytes) -> None:
    assert refused(value) == (RejectReason.NOT_JSON, None)


@pytest.mark.parametrize(
    "value", [b"\xff", b'{"a": "\xc3("}', b'"\xed\xa0\x80"', b"\xc0\xaf", b'{"a": "\xf8"}']
)
def test_bytes_that_are_not_utf8_are_refused(value: bytes) -> None:
    assert refused(value) == (RejectReason.NOT_UTF8, None)


@pytest.mark.parametrize("value", ["null", "[]", "3", '"text"', "true", "[{}]", "1.5"])
def test_json_that_is_not_an_object_is_refused(value: str) -> None:
    assert refused(value) == (RejectReason.NOT_AN_OBJECT, None)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 400 + ".0"])
@pytest.mark.parametrize("template", ['{"value": %s}', '{"details": {"a": [%s]}}'])
def test_numbers_that_are_not_finite_are_refused(template: str, number: str) -> None:
    assert refused(template % number) == (RejectReason.NOT_FINITE, None)


@pytest.mark.parametrize("number", [str(2**63), str(-(2**63) - 1), "9" * 5000, "-" + "9" * 100_000])
def test_integers_beyond_64_bits_are_refused(number: str) -> None:
    assert refused('{"details": {"a": ' + number + "}}") == (RejectReason.INTEGER_OUT_OF_RANGE, None)


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0])
def test_every_64_bit_integer_is_kept(number: int) -> None:
    assert accepted(with_details("view", a=number)).details["a"] == number


@pytest.mark.parametrize(
    "value",
    [
        '{"a": 1, "a": 1}',
        '{"details": {"a": 1, "b": 2, "a": 3}}',
        '{"details": [{"a": {"b": 1, "b": 2}}]}',
        '{"a": 1, "\\u0061": 2}',
    ],
)
def test_a_key_written_twice_is_refused_at_any_depth(value: str) -> None:
    assert refused(value) == (RejectReason.DUPLICATE_KEY, None)


@pytest.mark.parametrize(
    "value",
    [
        r'{"a": "\ud800"}',
        r'{"\udfff": 1}',
        r'{"details": {"a": ["x", {"\uD83D": 1}]}}',
        r'{"a": "\ude00\ud83d"}',
    ],
)
def test_half_of_a_surrogate_pair_is_refused_in_keys_and_values(value: str) -> None:
    assert refused(value) == (RejectReason.LONE_SURROGATE, None)


def test_a_whole_surrogate_pair_is_one_character() -> None:
    assert accepted(json.dumps(fields(session_id="😀"), ensure_ascii=True)).session_id == "😀"


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 1_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_a_record_that_nests_too_deep_is_refused(depth: int, opening: str, closing: str) -> None:
    value = opening * depth + "1" + closing * depth
    if len(value) <= 256 * 1024:
        assert refused(value) == (RejectReason.TOO_DEEP, None)
    else:
        assert refused(value) == (RejectReason.TOO_LARGE, None)


def test_one_hundred_thousand_opening_brackets_are_too_deep() -> None:
    assert refused("[" * 100_000) == (RejectReason.TOO_DEEP, None)


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert accepted(with_details("view", a=[[]] * 1_000)).details["a"] == [[]] * 1_000


def test_brackets_inside_strings_are_not_deep() -> None:
    text = '[{"\\' * 1_000
    assert accepted(with_details("view", a=text, b='"[' * 100)).details["a"] == text


def test_quotes_without_end_are_looked_at_once_only() -> None:
    # A scan that starts again at every escaped quote would need minutes here.
    assert refused(b"[" * 65 + b'"' + b'\\"' * 100_000) == (RejectReason.TOO_DEEP, None)
    assert refused(b"[]" * 65 + b'"' + b'\\"' * 100_000) == (RejectReason.NOT_JSON, None)
