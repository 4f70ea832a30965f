"""The exported schema accepts and refuses what the worker does, but for the list it carries: from both sides."""

import json
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis_jsonschema import from_schema
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.unit.contract.records import EXAMPLES, decoded, fields, with_details
from worker.contract.event import Event
from worker.contract.export import json_schema
from worker.contract.limits import Limits
from worker.contract.rejection import RejectReason

SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)
# So late that no event of the contract lies ahead of its record: that is one of the things a schema cannot say.
LATE = datetime(2102, 1, 1, tzinfo=UTC)
UNSAID = {
    RejectReason.TOO_LARGE,
    RejectReason.TOO_DEEP,
    RejectReason.DETAILS_TOO_LARGE,
    RejectReason.DETAILS_TOO_DEEP,
    RejectReason.DETAILS_TOO_MANY_KEYS,
    RejectReason.INTEGER_OUT_OF_RANGE,
    RejectReason.LONE_SURROGATE,
    RejectReason.CARD_NUMBER,
    RejectReason.FORBIDDEN_FIELD,
}
SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck))
event_types = st.sampled_from(sorted(EXAMPLES))


def worker_accepts(record: Any) -> bool | None:
    """None where the reason is one that no schema can say."""
    found = decoded(json.dumps(record), timestamp=LATE)
    if isinstance(found, Event):
        return True
    return None if found.reason in UNSAID else False


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What a schema accepts. Objects are put together here, for `from_schema` knows no recursion."""
    if schema == {"$ref": "#/$defs/Anything"}:
        return ANYTHING
    if "$ref" in schema:
        return values(SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")])
    if schema.get("type") != "object":
        return from_schema(schema)
    named = {name: values(inner) for name, inner in schema["properties"].items()}
    required = {name: named.pop(name) for name in schema.get("required", ())}
    known = st.fixed_dictionaries(required, optional=named)
    if schema["additionalProperties"] is False:
        return known
    others = st.dictionaries(KEYS, ANYTHING, max_size=2)
    return st.builds(lambda some, certain: {**some, **certain}, others, known)


KEYS = from_schema({"type": "string", **SCHEMA["$defs"]["Anything"]["propertyNames"]})
ANYTHING = st.recursive(
    from_schema({"type": ["string", "integer", "number", "boolean", "null"]}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
OF_TYPE = {name: values({"$ref": ref}) for name, ref in SCHEMA["discriminator"]["mapping"].items()}


@pytest.mark.slow
@SLOW
@given(st.data(), event_types)
def test_what_the_schema_accepts_the_worker_accepts(data: st.DataObject, event_type: str) -> None:
    record = data.draw(OF_TYPE[event_type])
    assert VALIDATOR.is_valid(record)
    assert worker_accepts(record) is not False


# Values that are near to what some field takes, or just beyond it.
offsets = st.sampled_from(
    ["Z", "z", "+00:00", "-00:00", "+14:00", "-12:30", "+00:01", "-23:59", "+24:00", "+0100", ""]
)
clocks = st.builds(
    "{:02}:{:02}:{:02}".format,
    st.sampled_from([0, 9, 23, 24]),
    st.sampled_from([0, 29, 59, 60]),
    st.integers(57, 61),
)
dates = st.builds(
    "{:04}-{:02}-{:02}".format,
    st.sampled_from([0, 1, 1899, 1900, 1969, 1970, 1971, 1972, 2000, 2023, 2024, 2100, 2101, 9999]),
    st.integers(0, 13),
    st.sampled_from([0, 1, 2, 28, 29, 30, 31, 32]),
)
fractions = st.sampled_from(["", ".", ".5", ".123456789", "." + "9" * 32, "." + "9" * 33, ",5"])
times = st.builds("{}{}{}{}{}".format, dates, st.sampled_from("Tt "), clocks, fractions, offsets)
ends = st.sampled_from(["", "\n", " ", "\0", "\u2028", "x"])
words = st.builds(
    "{}{}".format,
    times
    | st.ip_addresses().map(str)
    | st.sampled_from(
        ["::ffff:192.0.2.1", "::1%eth0", "01.2.3.4", "1.2.3", "2001:DB8::", "::", "1:2:3:4:5:6:1.2.3.4"]
    )
    | st.sampled_from(["a" * 24, "A" * 23, "g" * 24, "٣" * 24, "x" * 256, "é" * 257, "x" * 1024, "x" * 1025])
    | st.sampled_from(["0b6c2f6e-6c1d-4c55-9a53-00000000000A", "0b6c2f6e6c1d4c559a5300000000000a"])
    | st.sampled_from(["USD", "usd", "US", "USDX", "1.5", "1.", ".5", "1" * 12, "1" * 13, "1.12345", "-1"])
    | st.sampled_from(
        ["http://", "https://a b", "https://a", "ftp://a", "http://\x1c", "http://\ufeff", "http://\x85"]
    )
    | st.sampled_from(["complete", "void", ""])
    | st.text(max_size=4),
    ends,
)
numbers = st.sampled_from(
    [
        0,
        -0.0,
        0.5,
        1,
        1.0,
        4,
        5,
        5.0,
        65.0,
        65.5,
        100,
        100.5,
        1e6,
        10**6 + 1,
        1e7,
        10**7 + 1,
        -1,
        1e300,
        2**63,
    ]
) | (st.floats(allow_nan=False, allow_infinity=False) | st.integers())
known_keys = {key for event in EXAMPLES.values() for key in {**event, **event.get("details", {})}}
keys = st.sampled_from(["a", "$a", "a$", "a.b", ".", "a\0", "", "\n", "$", "é", *sorted(known_keys)])
anything = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=2),
    max_leaves=6,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in paths(item, (*path, key)))]


def place_of(record: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        record = record[key]
    return record


@st.composite
def bent(draw: st.DrawFn) -> dict[str, Any]:
    """An example with one to three places changed, taken away or added."""
    record: Any = deepcopy(EXAMPLES[draw(event_types)])
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([found for found in paths(record) if found]))
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"])):
            case "replace":
                place_of(record, path[:-1])[path[-1]] = draw(anything)
            case "remove":
                del place_of(record, path[:-1])[path[-1]]
            case _:
                holders = [found for found in paths(record) if isinstance(place_of(record, found), dict)]
                place_of(record, draw(st.sampled_from(holders)))[draw(keys)] = draw(anything)
    return dict(record)


@pytest.mark.slow
@settings(SLOW, max_examples=300)
@given(bent())
def test_what_the_worker_accepts_the_schema_accepts_and_nothing_else(record: dict[str, Any]) -> None:
    accepted = worker_accepts(record)
    assume(accepted is not None)
    assert VALIDATOR.is_valid(record) is accepted, record


@pytest.mark.slow
@settings(SLOW, max_examples=200)
@given(times, ends)
def test_schema_and_worker_agree_on_times(time: str, end: str) -> None:
    for record in (
        fields(occurred_at=time + end),
        with_details("certificate_issued", valid_until=time + end),
    ):
        assert VALIDATOR.is_valid(record) is worker_accepts(record), record


@pytest.mark.parametrize("event_type", EXAMPLES)
def test_the_examples_are_valid(event_type: str) -> None:
    VALIDATOR.validate(EXAMPLES[event_type])


def test_every_reason_is_either_said_by_the_schema_or_named_as_unsaid() -> None:
    """What the schema refuses, by reason: one record each."""
    said = {
        RejectReason.UNSUPPORTED_VERSION: fields(schema_version=2),
        RejectReason.UNKNOWN_EVENT_TYPE: fields(event_type="void"),
        RejectReason.UNKNOWN_FIELD: fields(other=1),
        RejectReason.MISSING_FIELD: {},
        RejectReason.INVALID_FIELD: fields(user_id=1),
        RejectReason.TIME_OUT_OF_RANGE: fields(occurred_at="2101-01-01T00:00:00Z"),
        RejectReason.DETAILS_BAD_KEY: with_details("view", deep=[{"a": {"$b": 1}}]),
        RejectReason.NOT_AN_OBJECT: [],
    }
    of_the_text = {
        RejectReason.NOT_UTF8,
        RejectReason.NOT_JSON,
        RejectReason.NOT_FINITE,
        RejectReason.DUPLICATE_KEY,
    }
    of_ingest = {RejectReason.CONFLICT, RejectReason.REFUSED_BY_STORE, RejectReason.UNDECODABLE}
    for reason, record in said.items():
        found = decoded(json.dumps(record), timestamp=LATE, limits=Limits())
        assert not isinstance(found, Event)
        assert (found.reason, VALIDATOR.is_valid(record)) == (reason, False)
    assert set(RejectReason) == {*said, *UNSAID, *of_the_text, *of_ingest}


def test_the_schema_names_what_it_cannot_say() -> None:
    for word in (
        "bytes",
        "keys",
        "levels",
        "64 bits",
        "twice",
        "surrogate",
        "record's own time",
        "card number",
        "event_id",
    ):
        assert word in SCHEMA["description"]
