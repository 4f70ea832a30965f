"""Which dead letters may be sent again, and as what: decided from the dead letter alone."""

from typing import Any

import pytest

from worker.kafka.files import OutgoingRecord
from worker.retry.dead_letters import Damaged, Header, Kept
from worker.retry.redrive import HEADER, Skipped, lineage, record_of, refusal_of


def dead_letter(**changes: Any) -> dict[str, Any]:
    return {"kind": "record", "reason": "not_json", "redrives": 0, **changes}


def kept(*headers: Header, key: bytes | None = b"k", value: bytes | None = b"v") -> Kept:
    return Kept(key, headers, value)


def counted(value: bytes | None) -> Header:
    return (HEADER, value)


@pytest.mark.parametrize(
    ("headers", "redrives", "expected"),
    [
        ([], 0, 0),
        ([], 2, 2),
        ([counted(b"2")], 1, 3),
        ([counted(b"1"), counted(b"2")], 0, 2),
        ([counted(None)], 0, 0),
        ([counted(b"-1")], 0, 0),
        ([counted(b"99999999999")], 0, 0),
        ([counted("²".encode())], 0, 0),
    ],
)
def test_the_lineage_counts_what_came_before_and_what_went_from_here(
    headers: list[Header], redrives: int, expected: int
) -> None:
    assert lineage(dead_letter(redrives=redrives), kept(*headers)) == expected


def test_the_guard_stops_the_fourth_time_wherever_the_first_three_began() -> None:
    assert refusal_of(dead_letter(), kept(counted(b"2")), 3, again=False) is None
    assert refusal_of(dead_letter(), kept(counted(b"3")), 3, again=False) is Skipped.LOOP
    assert refusal_of(dead_letter(), kept(counted(b"3")), 3, again=True) is Skipped.LOOP
    assert refusal_of(dead_letter(redrives=3), kept(), 3, again=True) is Skipped.LOOP


def test_a_dead_letter_is_sent_once_unless_somebody_insists() -> None:
    assert refusal_of(dead_letter(redrives=1), kept(), 3, again=False) is Skipped.REDRIVEN
    assert refusal_of(dead_letter(redrives=1), kept(), 3, again=True) is None


def test_what_there_are_no_exact_bytes_of_is_not_sent_and_the_reason_is_told() -> None:
    assert refusal_of(dead_letter(kind="gap"), kept(), 3, again=True) is Skipped.NO_BYTES
    assert refusal_of(dead_letter(without_bytes=True), Damaged("refused"), 3, again=True) is Skipped.NO_BYTES
    assert refusal_of(dead_letter(), Damaged("a part is missing"), 3, again=True) is Skipped.DAMAGED
    assert refusal_of(dead_letter(reason="undecodable"), kept(), 3, again=True) is Skipped.BROKEN
    assert refusal_of(dead_letter(), kept((b"caf\xe9", b"x")), 3, again=True) is Skipped.HEADERS


def test_a_record_goes_as_it_came_but_for_the_header_that_counts() -> None:
    whole = kept(("trace", b"1"), counted(b"1"), ("empty", None), value=b"\xff\x00")
    assert record_of(dead_letter(), whole) == OutgoingRecord(
        b"\xff\x00", b"k", (("trace", b"1"), ("empty", None), (HEADER, b"2"))
    )


def test_a_record_without_key_and_value_stays_one() -> None:
    assert record_of(dead_letter(), kept(key=None, value=None)) == OutgoingRecord(
        None, None, ((HEADER, b"1"),)
    )
