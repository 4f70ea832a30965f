"""W3C trace context of a record: kept as it came where it is one, and nothing where it is none."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contract.trace_context import (
    LONGEST_PARENT,
    LONGEST_STATE,
    PARENT,
    STATE,
    TraceContext,
    trace_in,
    trace_of,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SENT = f"00-{TRACE}-00f067aa0ba902b7-01"
HEADER = (PARENT, SENT.encode())


def test_a_trace_is_known_by_the_headers_of_the_standard() -> None:
    trace = trace_of([("other", b"1"), HEADER, (STATE, b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")])
    assert trace == TraceContext(SENT, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
    assert trace.trace_id == TRACE
    assert trace_of(trace.headers) == trace
    assert TraceContext(SENT).headers == (HEADER,)


def test_a_record_without_the_headers_belongs_to_no_trace() -> None:
    assert trace_of([]) is None
    assert trace_of([("Traceparent", SENT.encode()), (STATE, b"a=1")]) is None


@pytest.mark.parametrize(
    "parent",
    [
        None,
        b"",
        b"\xff\xfe",
        b"not a trace",
        SENT[:-1].encode(),
        SENT.upper().encode(),
        f" {SENT}".encode(),
        f"{SENT}\n".encode(),
        f"{SENT}-more".encode(),  # version 00 has nothing behind its flags
        f"ff{SENT[2:]}".encode(),
        f"00-{'0' * 32}-00f067aa0ba902b7-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"01{SENT[2:]}more".encode(),
        f"01{SENT[2:]}-".encode() + b"x" * 1_000_000,
        SENT.replace("4bf9", "4bg9").encode(),
        SENT.replace("-", "_").encode(),
    ],
)
def test_what_is_no_trace_says_nothing_and_its_state_neither(parent: bytes | None) -> None:
    assert trace_of([(PARENT, parent), (STATE, b"a=1")]) is None


def test_a_newer_version_is_kept_as_what_version_00_reads_of_it() -> None:
    assert trace_of([(PARENT, f"cc{SENT[2:]}-what-comes-next".encode())]) == TraceContext(SENT)
    assert trace_of([(PARENT, f"01-{TRACE}-00f067aa0ba902b7-fe".encode())]) == TraceContext(
        f"00-{TRACE}-00f067aa0ba902b7-00"
    )


def test_of_several_headers_of_one_name_the_last_one_counts() -> None:
    later = SENT.replace("00f067aa0ba902b7", "aaaaaaaaaaaaaaaa")
    headers = [HEADER, (STATE, b"a=1"), (PARENT, later.encode()), (STATE, b"b=2")]
    assert trace_of(headers) == TraceContext(later, "b=2")
    assert trace_of([HEADER, (PARENT, b"none")]) is None


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        (b" rojo=1 ,\tcongo=2 ", "rojo=1,congo=2"),
        (b"rojo=1,,congo=2", "rojo=1,congo=2"),
        (b"fw529a3039@dt=FfAB_3,0a_-*/=~", "fw529a3039@dt=FfAB_3,0a_-*/=~"),
        (b"a=with space", "a=with space"),
        (",".join(f"k{n}=1" for n in range(32)).encode(), ",".join(f"k{n}=1" for n in range(32))),
        (",".join(f"k{n}=1" for n in range(33)).encode(), None),
        (b"a=" + b"x" * 200 + b",b=" + b"x" * 200, "a=" + "x" * 200 + ",b=" + "x" * 200),
        (b"a=" + b"x" * LONGEST_STATE, None),
        (b"", None),
        (b" , ", None),
        (b"noequals", None),
        (b"A=1", None),
        (b"a=\x00", None),
        (b"a=\n1", None),
        ("a=é".encode(), None),
        (b"a=1,=", None),
    ],
)
def test_a_state_is_kept_where_it_is_one_and_the_trace_in_any_case(state: bytes, kept: str | None) -> None:
    assert trace_of([HEADER, (STATE, state)]) == TraceContext(SENT, kept)


@given(parent=st.binary(max_size=80), state=st.none() | st.binary(max_size=600))
def test_no_bytes_raise_and_what_is_kept_is_bounded_and_reads_itself_back(
    parent: bytes, state: bytes | None
) -> None:
    for headers in ([(PARENT, parent), (STATE, state)], [HEADER, (STATE, state)]):
        trace = trace_of(headers)
        if trace is not None:
            assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", trace.parent)
            assert len(trace.parent) == LONGEST_PARENT
            assert trace.state is None or 0 < len(trace.state) <= LONGEST_STATE
            assert trace_of(trace.headers) == trace
            assert trace_in({"metadata": {PARENT: trace.parent, STATE: trace.state}}) == trace


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"metadata": None},
        {"metadata": []},
        {"metadata": {PARENT: None}},
        {"metadata": {PARENT: 7}},
        {"metadata": {PARENT: "é"}},
        {"metadata": {PARENT: "x" * 10_000}},
        {"metadata": {STATE: "a=1"}},
    ],
)
def test_a_document_that_holds_something_else_there_has_no_trace(event: dict[str, object]) -> None:
    assert trace_in(event) is None


def test_an_odd_state_of_a_document_costs_only_itself() -> None:
    for odd in (7, "é", "", "x" * 10_000):
        assert trace_in({"metadata": {PARENT: SENT, STATE: odd}}) == TraceContext(SENT)
