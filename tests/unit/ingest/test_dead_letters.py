"""A dead letter keeps the exact bytes, where they came from and why; the same dead letter has the same id."""

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.unit.ingest.samples import NOON, TOPIC, event_id, record
from worker.contract.gaps import GapReason
from worker.contract.rejection import Rejected, RejectReason
from worker.ingest.dead_letters import (
    HEADERS_BYTES,
    KEY_BYTES,
    PART_BYTES,
    dead_letter_documents,
    gap_document,
    minimal_dead_letter,
    tell,
)
from worker.ingest.record import DeadLetter
from worker.kafka.positions import Gap
from worker.kafka.record import Partition, Record
from worker.storage import models
from worker.storage.encoding import encoded
from worker.storage.record_headers import encode_headers

NOT_JSON = Rejected(RejectReason.NOT_JSON, "is not JSON")
INVALID = Rejected(RejectReason.INVALID_FIELD, "must be a string", "session_id")


def documents(kept: Record, rejected: Rejected = NOT_JSON) -> list[dict[str, Any]]:
    return list(dead_letter_documents(DeadLetter(kept, rejected, event_id(1)), NOON))


def bytes_of(kept: list[dict[str, Any]]) -> bytes:
    """The value as an operator puts it together again."""
    dead_letter, *parts = kept
    if dead_letter["parts"] == 0:
        return bytes(dead_letter["value"])
    assert [part["part_of"] for part in parts] == [dead_letter["_id"]] * dead_letter["parts"]
    return b"".join(part["value"] for part in sorted(parts, key=lambda part: int(part["part"])))


def test_a_dead_letter_has_bytes_headers_position_and_reason() -> None:
    headers = (("trace", b"\x00\xff"), ("trace", None))
    kept = record(41, b"\xff{", partition=2, key=b"\x00k", headers=headers)
    [dead_letter] = documents(kept, INVALID)
    assert dead_letter["value"] == b"\xff{"
    assert dead_letter["key"] == b"\x00k"
    assert dead_letter["headers"] == [{"key": "trace", "value": b"\x00\xff"}, {"key": "trace", "value": None}]
    assert (dead_letter["topic"], dead_letter["partition"], dead_letter["offset"]) == (TOPIC, 2, 41)
    assert (dead_letter["reason"], dead_letter["field"], dead_letter["event_id"]) == (
        "invalid_field",
        "session_id",
        event_id(1),
    )
    assert (dead_letter["size_bytes"], dead_letter["parts"], dead_letter["gap"]) == (2, 0, None)
    assert dead_letter["payload_sha256"] == hashlib.sha256(b"\xff{").digest()


def test_the_id_is_position_and_payload() -> None:
    [dead_letter] = documents(record(41, b"abc", partition=2))
    assert dead_letter["_id"] == f"{TOPIC}:2:41:{hashlib.sha256(b'abc').hexdigest()[:16]}"


def test_the_same_record_gives_the_same_id_and_another_payload_at_its_position_another() -> None:
    # After a log was restarted an offset comes a second time, with other bytes.
    ids = [documents(record(41, value))[0]["_id"] for value in (b"a", b"a", b"b")]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("size", "parts"),
    [(PART_BYTES, 0), (PART_BYTES + 1, 2), (2 * PART_BYTES, 2), (2 * PART_BYTES + 5, 3)],
)
def test_bytes_over_the_limit_are_kept_in_parts_exactly(size: int, parts: int) -> None:
    value = b"0123456789" * (size // 10) + b"x" * (size % 10)
    kept = documents(record(0, value))
    assert (kept[0]["parts"], len(kept) - 1, kept[0]["size_bytes"]) == (parts, parts, size)
    assert bytes_of(kept) == value
    assert (kept[0]["value"] is None) == (parts > 0)
    assert [document["_id"] for document in kept[1:]] == [
        f"{kept[0]['_id']}#{number}" for number in range(1, parts + 1)
    ]


@settings(max_examples=50)
@given(
    value=st.binary(max_size=200),
    key=st.none() | st.binary(max_size=20),
    headers=st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3),
    reason=st.sampled_from(RejectReason),
)
def test_every_dead_letter_fits_the_stored_model_and_bson(
    value: bytes, key: bytes | None, headers: list[tuple[str, bytes | None]], reason: RejectReason
) -> None:
    [dead_letter] = documents(record(3, value, key=key, headers=tuple(headers)), Rejected(reason, "why"))
    models.DeadLetter.model_validate(dead_letter, strict=True)
    assert encoded(dead_letter) is not None


@pytest.mark.parametrize("size", [KEY_BYTES, KEY_BYTES + 1, PART_BYTES + 1, 17_000_000])
def test_a_key_over_its_limit_is_kept_in_parts_exactly(size: int) -> None:
    key = b"0123456789" * (size // 10) + b"x" * (size % 10)
    dead_letter, *parts = documents(record(0, b"v", key=key))
    if size == KEY_BYTES:
        assert (dead_letter["key"], parts) == (key, [])
        return
    assert (dead_letter["key"], dead_letter["value"]) == (None, b"v")
    assert (dead_letter["key_size_bytes"], dead_letter["key_sha256"]) == (size, hashlib.sha256(key).digest())
    assert [part["_id"] for part in parts] == [
        f"{dead_letter['_id']}#key{number}" for number in range(1, dead_letter["key_parts"] + 1)
    ]
    assert b"".join(part["value"] for part in parts) == key
    assert_storable(dead_letter, parts)


@pytest.mark.parametrize(
    "headers",
    [
        (("h", b"a" * 17_000_000),),
        tuple((f"h{n}", None) for n in range(600_000)),
        ((b"caf\xe9").decode("latin-1"), b"x" * HEADERS_BYTES),
        b"\x02\x06\xff\xff\xff\x00",
    ],
    ids=["17 MB", "600,000", "just over", "as bytes"],
)
def test_headers_over_their_limit_or_without_text_are_kept_in_parts_exactly(headers: Any) -> None:
    if isinstance(headers, tuple) and isinstance(headers[0], str):
        headers = (headers,)
    dead_letter, *parts = documents(record(0, b"v", key=b"k", headers=headers))
    assert (dead_letter["headers"], dead_letter["key"]) == ([], b"k")
    encoded_headers = b"".join(part["value"] for part in parts)
    assert encoded_headers == (headers if isinstance(headers, bytes) else encode_headers(headers))
    assert dead_letter["headers_size_bytes"] == len(encoded_headers)
    assert dead_letter["headers_sha256"] == hashlib.sha256(encoded_headers).digest()
    assert_storable(dead_letter, parts)


def assert_storable(dead_letter: dict[str, Any], parts: list[dict[str, Any]]) -> None:
    models.DeadLetter.model_validate(dead_letter, strict=True)
    for part in parts:
        models.DeadLetterPart.model_validate(part, strict=True)
    for document in (dead_letter, *parts):
        blob = encoded(document)
        assert blob is not None
        assert len(blob.raw) < 2**24


def test_without_its_bytes_a_dead_letter_has_position_sizes_hashes_and_reason() -> None:
    kept = record(41, b"v" * 20, partition=2, key=b"k", headers=(("h", b"x"),))
    dead_letter = minimal_dead_letter(DeadLetter(kept, INVALID, event_id(1)), NOON)
    assert dead_letter["_id"] == documents(kept, INVALID)[0]["_id"]
    assert (dead_letter["partition"], dead_letter["offset"], dead_letter["reason"]) == (
        2,
        41,
        "invalid_field",
    )
    assert (dead_letter["value"], dead_letter["key"], dead_letter["headers"], dead_letter["parts"]) == (
        None,
        None,
        [],
        0,
    )
    assert (dead_letter["size_bytes"], dead_letter["key_size_bytes"], dead_letter["without_bytes"]) == (
        20,
        1,
        True,
    )
    assert dead_letter["payload_sha256"] == hashlib.sha256(b"v" * 20).digest()
    assert_storable(dead_letter, [])


def test_a_part_fits_the_stored_model() -> None:
    _, *parts = documents(record(0, b"x" * (PART_BYTES + 1)))
    assert [models.DeadLetterPart.model_validate(part, strict=True).part for part in parts] == [1, 2]


def test_equal_failures_share_a_fingerprint_and_others_do_not() -> None:
    def fingerprint(offset: int, rejected: Rejected) -> str:
        return str(documents(record(offset, str(offset).encode()), rejected)[0]["fingerprint"])

    same = {fingerprint(offset, INVALID) for offset in range(5)}
    other_field = Rejected(RejectReason.INVALID_FIELD, "must be a string", "device_type")
    other_words = Rejected(RejectReason.INVALID_FIELD, "anything else", "session_id")
    assert len(same) == 1
    assert fingerprint(0, other_words) in same
    assert len({*same, fingerprint(0, other_field), fingerprint(0, NOT_JSON)}) == 3


def test_a_gap_has_its_exact_range_and_no_bytes() -> None:
    gap = Gap(Partition(TOPIC, 3), 100, 249, GapReason.RETENTION, "gone")
    document = gap_document(gap, NOON)
    assert document["_id"] == f"{TOPIC}:3:100-249:retention"
    assert (document["kind"], document["reason"], document["offset"]) == ("gap", "retention", 100)
    assert document["gap"] == {"first_offset": 100, "last_offset": 249}
    assert (document["value"], document["size_bytes"]) == (None, 0)
    models.DeadLetter.model_validate(document, strict=True)


def told(lines: list[Any], event: str) -> dict[str, Any]:
    (line,) = [each for each in lines if each["event"] == event]
    return dict(line)


def test_a_batch_of_dead_letters_is_one_line_with_reason_number_and_first_offset() -> None:
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    traced = record(3, b"{", partition=1, headers=(("traceparent", parent.encode()),))
    dead = [
        *(DeadLetter(record(offset, b"{"), NOT_JSON) for offset in range(500, 0, -1)),
        DeadLetter(record(7, b"{}"), INVALID, event_id(1)),
        DeadLetter(record(9, b"{", partition=1), NOT_JSON),
        DeadLetter(traced, NOT_JSON),
    ]
    with capture_logs() as lines:
        tell(dead, {})
    line = told(lines, "records_dead_lettered")
    assert (len(lines), line["log_level"], line["records"]) == (1, "warning", 503)
    assert line["groups"] == [
        {"reason": "not_json", "records": 500, "topic": TOPIC, "partition": 0, "first_offset": 1},
        {
            "reason": "not_json",
            "records": 2,
            "topic": TOPIC,
            "partition": 1,
            "first_offset": 3,
            "trace_id": "a" * 32,
        },
        {"reason": "invalid_field", "records": 1, "topic": TOPIC, "partition": 0, "first_offset": 7},
    ]


def test_those_without_bytes_are_a_second_line_and_a_batch_without_any_is_none() -> None:
    dead = [DeadLetter(record(offset, b"{"), NOT_JSON) for offset in range(3)]
    with capture_logs() as lines:
        tell(dead, {1: "code 10334", 2: "no BSON document"})
        tell([], {})
    assert len(lines) == 2
    line = told(lines, "dead_letters_without_bytes")
    assert (line["log_level"], line["records"]) == ("error", 2)
    assert [(each["reason"], each["first_offset"]) for each in line["groups"]] == [
        ("code 10334", 1),
        ("no BSON document", 2),
    ]


def test_a_line_about_very_many_partitions_has_the_largest_groups() -> None:
    dead = [DeadLetter(record(n, b"{", partition=p), NOT_JSON) for p in range(100) for n in range(p + 1)]
    with capture_logs() as lines:
        tell(dead, {})
    groups = told(lines, "records_dead_lettered")["groups"]
    assert [each["partition"] for each in groups] == list(range(99, 79, -1))
