"""A batch that aiokafka gives up is taken apart: each record that can be found is delivered, others are bytes."""

from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.kafka.raw_batches import headers_of, raw_batch, raw_record, sized
from worker.kafka.batch_bounds import decoding_failure
from worker.kafka.codecs import MOST_HEADERS, CodecError, GuardedRecords, install_bounded_decoders
from worker.kafka.record import Partition
from worker.kafka.record_batch import Lost, ParsedRecord, Salvaged, record_of, salvage
from worker.storage.record_headers import (
    HeadersBroken,
    decode_headers,
    encode_headers,
    read_varint,
    varint,
)

NOT_UTF8 = ((b"caf\xe9", b"x"),)


def salvaged(content: bytes, offset: int = 0, max_records: int = 1_000, max_bytes: int = 10**9) -> Any:
    return salvage(content, Partition("events", 3), offset, max_records, max_bytes)


def values(found: Salvaged) -> list[tuple[int, bytes | None]]:
    return [(record.offset, record.value) for record in found.records]


@pytest.mark.parametrize("codec", [0, 1, 3, 4])
def test_a_header_name_that_is_no_utf8_costs_nothing(codec: int) -> None:
    records = [raw_record(n, b"%d" % n, b"k", NOT_UTF8 if n == 2 else ()) for n in range(5)]
    content = raw_batch(records, base=100, codec=codec)
    assert "UnicodeDecodeError" in (decoding_failure(content) or "")
    found = salvaged(content, 100)
    assert values(found) == [(100 + n, b"%d" % n) for n in range(5)]
    assert found.next_offset == 105
    assert found.records[2].headers == headers_of(NOT_UTF8)
    assert [record.headers for record in found.records if record.offset != 102] == [()] * 4
    assert all(record.unreadable is None for record in found.records)


@pytest.mark.parametrize(
    "broken",
    [
        raw_record(1, headers=b"\x02"),  # a header that is not there
        raw_record(1, headers=b"\x00extra"),
        raw_record(1, headers=b"\x01"),  # -1 headers
        raw_record(1, headers=headers_of([(b"h", b"v")])[:-1]),
    ],
)
def test_a_record_whose_fields_do_not_fill_it_is_kept_as_its_exact_bytes(broken: bytes) -> None:
    found = salvaged(raw_batch([raw_record(0), broken, raw_record(2)]))
    assert [(record.offset, record.unreadable is None) for record in found.records] == [
        (0, True),
        (1, False),
        (2, True),
    ]
    assert (found.records[1].value, found.records[1].key) == (broken, None)


def test_behind_a_length_that_cannot_be_nothing_is_found_any_more() -> None:
    broken = varint(10_000) + raw_record(2)
    content = raw_batch([raw_record(0), raw_record(1), broken, raw_record(3)])
    assert values(salvaged(content)) == [(0, b"v"), (1, b"v")]
    assert salvaged(content).next_offset == 2
    assert salvaged(content, 2) == Lost(2, 3)


@pytest.mark.parametrize("delta", [0, -7, 50])
def test_offsets_that_do_not_ascend_in_their_batch_are_not_believed(delta: int) -> None:
    content = raw_batch([raw_record(0), raw_record(1), raw_record(delta), raw_record(3)])
    assert values(salvaged(content)) == [(0, b"v"), (1, b"v")]
    assert salvaged(content, 2) == Lost(2, 3)


def test_what_compaction_has_removed_is_no_loss() -> None:
    content = raw_batch([raw_record(3), raw_record(7, headers=NOT_UTF8)], base=10, last_delta=9)
    assert values(salvaged(content, 10)) == [(13, b"v"), (17, b"v")]
    assert salvaged(content, 18) == Salvaged((), 20)


def test_records_come_in_pieces_from_the_offset_that_is_asked_for() -> None:
    content = raw_batch([raw_record(n, b"x" * 100) for n in range(10)], base=40)
    first = salvaged(content, 43, max_records=3)
    assert ([offset for offset, _ in values(first)], first.next_offset) == ([43, 44, 45], 46)
    second = salvaged(content, first.next_offset, max_bytes=250)
    assert ([offset for offset, _ in values(second)], second.next_offset) == ([46, 47, 48], 49)


def test_control_records_old_formats_and_what_does_not_unpack_are_taken_as_a_whole() -> None:
    assert salvaged(raw_batch([raw_record(0)], attributes=0x20)) is None
    old = bytearray(raw_batch([raw_record(0)]))
    old[16] = 1
    assert salvaged(bytes(old)) is None
    assert salvaged(raw_batch([raw_record(0)], attributes=4)) is None  # says zstd
    assert salvaged(raw_batch([raw_record(0)], attributes=7)) is None
    assert salvaged(b"short") is None


def test_the_broker_s_time_counts_where_the_batch_says_so() -> None:
    record = raw_record(0, time_delta=3)
    assert salvaged(raw_batch([record])).records[0].timestamp == 1_700_000_000_003
    assert salvaged(raw_batch([record], attributes=0x08)).records[0].timestamp == 1_700_000_000_005


@given(
    st.lists(
        st.tuples(
            st.none() | st.binary(max_size=20),
            st.none() | st.binary(max_size=300),
            st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3),
        ),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from([0, 1, 3, 4]),
)
def test_whole_batches_are_read_as_aiokafka_reads_them(records: list[Any], codec: int) -> None:
    content = raw_batch(
        [
            raw_record(n, value, key, [(name.encode(), content) for name, content in headers], time_delta=n)
            for n, (key, value, headers) in enumerate(records)
        ],
        base=7,
        codec=codec,
    )
    theirs = [
        (r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in MemoryRecords(content).next_batch()
    ]
    ours = [(r.offset, r.timestamp, r.key, r.value, r.headers) for r in salvaged(content, 7).records]
    assert ours == theirs


@pytest.mark.parametrize("timestamp", [-1, 1_700_000_000_000_000, 2**63 - 1, None])
def test_a_timestamp_that_means_no_time_of_an_event_is_none(timestamp: Any) -> None:
    record = record_of(ParsedRecord("events", 0, 1, timestamp, None, b"v", ()))
    assert record.timestamp is None


def test_a_timestamp_before_1970_is_the_first_there_is() -> None:
    record = record_of(ParsedRecord("events", 0, 1, -(2**63), None, b"v", ()))
    assert record.timestamp == datetime(1970, 1, 1, tzinfo=UTC)


# ---- more headers than aiokafka may take apart ----


def _many(count: int) -> bytes:
    return varint(count) + b"\0\0" * count


@pytest.fixture
def _bounded() -> None:
    install_bounded_decoders()


@pytest.mark.usefixtures("_bounded")
@pytest.mark.parametrize("codec", [0, 1, 3, 4])
def test_a_record_with_very_many_headers_is_refused_before_aiokafka_takes_it_apart_and_read_by_us(
    codec: int,
) -> None:
    headers = _many(600_000)
    content = raw_batch(
        [raw_record(0, b"a" * 5_000), raw_record(1, headers=headers), raw_record(2)], codec=codec
    )

    def read() -> None:
        for record in GuardedRecords(content).next_batch():
            assert len(record.headers) <= MOST_HEADERS

    with pytest.raises(CodecError, match="headers"):
        read()
    assert "headers" in (decoding_failure(content) or "")
    found = salvaged(content)
    assert values(found) == [(0, b"a" * 5_000), (1, b"v"), (2, b"v")]
    assert found.records[1].headers == headers


@pytest.mark.usefixtures("_bounded")
@pytest.mark.parametrize(
    "length", [varint(20), varint(-1), varint(9_000), varint(2**40), b"\xa8" + b"\x80" * 8 + b"\x02"]
)
@pytest.mark.parametrize("codec", [0, 4])
def test_headers_are_counted_whatever_length_their_record_claims(length: bytes, codec: int) -> None:
    """Aiokafka compares the length when it has taken the headers apart."""
    body = b"\0" + varint(0) + varint(1) + sized(None) + sized(b"v") + _many(100_000)
    content = raw_batch([raw_record(0), length + body], codec=codec)
    with pytest.raises(CodecError, match="headers"):
        list(GuardedRecords(content).next_batch())


def test_what_is_read_of_a_batch_is_bounded_by_what_it_takes_in_memory() -> None:
    """Five thousand headers in ten kilobytes become half a megabyte of objects."""
    content = raw_batch([raw_record(place, headers=_many(MOST_HEADERS)) for place in range(9)])
    assert len(salvaged(content, max_bytes=1_000_000).records) == 2


@pytest.mark.usefixtures("_bounded")
@pytest.mark.parametrize("codec", [0, 4])
def test_large_records_with_few_headers_are_aiokafka_s(codec: int) -> None:
    records = [
        raw_record(0, b"a" * 500_000, b"k" * 30_000, [(b"h", b"v" * 100_000)]),
        raw_record(1, b"b"),
        raw_record(2, headers=_many(MOST_HEADERS)),
    ]
    assert decoding_failure(raw_batch(records, codec=codec)) is None


# ---- headers as bytes ----


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_survive(number: int) -> None:
    assert read_varint(b"x" + varint(number), 1) == (number, 1 + len(varint(number)))


@given(st.lists(st.tuples(st.text(max_size=9), st.none() | st.binary(max_size=9)), max_size=9))
def test_headers_survive(headers: list[tuple[str, bytes | None]]) -> None:
    assert decode_headers(encode_headers(headers)) == [(name.encode(), value) for name, value in headers]


@pytest.mark.parametrize(
    "encoded", [b"", b"\x02", b"\x01", b"\x00\x00", b"\x02" + sized(None) + sized(b""), b"\xff" * 11]
)
def test_what_are_no_headers_is_refused(encoded: bytes) -> None:
    with pytest.raises(HeadersBroken):
        decode_headers(encoded)
