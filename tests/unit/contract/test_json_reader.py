"""What is no JSON, or JSON that BSON cannot hold, is refused with its own reason."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.contract.records import accepted, fields, refused, with_details
from worker.contract.families import LEARNER_TYPES
from worker.contract.json_reader import MAX_DEPTH, read_object, read_quickly, read_strictly
from worker.contract.rejection import RejectReason


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
        assert refused(value, types=LEARNER_TYPES) == (RejectReason.TOO_LARGE, None)


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


def _written(pairs: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{key}: {value}" for key, value in pairs) + "}"


# Every spelling of a number, keys twice, white space, escapes, and what is no JSON.
_NUMBERS = st.one_of(
    st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(
        [str(sign * 2**bits + near) for bits in (53, 63, 64) for sign in (1, -1) for near in (-1, 0, 1)]
    ),
    st.sampled_from(["-0", "-0.0", "1e400", "9223372036854775807.0", "NaN", "01"]),
)
_STRINGS = st.one_of(
    st.sampled_from(['"a"', '"b"', '""', '"\\u0061"', '"\\ud800"', '"\\""', '"\x7f"', '"\n"', '"{[:,"']),
    st.text(max_size=5).map(lambda text: json.dumps(text, ensure_ascii=False)),
)
_VALUES = st.recursive(
    st.one_of(_NUMBERS, _STRINGS, st.sampled_from(["true", "false", "null", "nul"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(_STRINGS, inner), max_size=4).map(_written),
    ),
    max_leaves=12,
)


@given(st.lists(st.tuples(_STRINGS, _VALUES), max_size=4).map(_written) | _VALUES)
@example('{"a": 1, "a": 1}')
@example('{"a": [-0, -0.0]}')
@example('{"a": {"b": "", "b": 18446744073709551616}}')
def test_what_is_read_quickly_is_what_is_read_strictly(text: str) -> None:
    value = text.encode(errors="surrogatepass")
    quick = read_quickly(value)
    # By their spelling: 1, 1.0 and True are equal.
    assert quick is None or repr(quick) == repr(read_strictly(value))


@given(st.binary(max_size=30), st.integers(min_value=0, max_value=200))
def test_broken_bytes_are_read_quickly_as_strictly_or_not_at_all(junk: bytes, at: int) -> None:
    value = json.dumps(fields()).encode()
    value = value[:at] + junk + value[at + len(junk) :]
    quick = read_quickly(value)
    assert quick is None or repr(quick) == repr(read_strictly(value))


def test_an_ordinary_record_needs_no_strict_reading() -> None:
    value = json.dumps(with_details("view", nested={"list": [1, 2.5, None, True, {"a": "b"}]})).encode()
    assert read_quickly(value) == read_object(value) == read_strictly(value)


@pytest.mark.parametrize(
    "value",
    [
        '{"a": 1, "a": 1}',
        '{"a": {"b": 1, "b": 2}}',
        '{"a": [{"b": 1, "b": 2}]}',
        '{"a": 18446744073709551616}',
        '{"a": -9223372036854775809}',
        '{"a": [[9223372036854775808]]}',
        '{"a": 1e400}',
        '{"a": NaN}',
        '{"a": "\\ud800"}',
        '{"a": ' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}",
        "[]",
    ],
)
def test_the_strict_reader_gives_the_reasons(value: str) -> None:
    assert read_quickly(value.encode()) is None
    assert read_object(value.encode()) == read_strictly(value.encode())
