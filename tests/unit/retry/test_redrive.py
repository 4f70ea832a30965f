"""Which letters may be sent again, and as what: decided from the letter alone."""

from typing import Any

import pytest

from worker.retry.redrive import HEADER, Again, Skipped, judge, lineage, record_of


def letter(**changes: Any) -> dict[str, Any]:
    return {"kind": "record", "redrives": 0, "headers": [], "key": b"k", **changes}


def counted(value: bytes | None) -> list[dict[str, Any]]:
    return [{"key": HEADER, "value": value}]


@pytest.mark.parametrize(
    ("headers", "redrives", "expected"),
    [
        ([], 0, 0),
        ([], 2, 2),
        (counted(b"2"), 1, 3),
        ([*counted(b"1"), *counted(b"2")], 0, 2),
        (counted(None), 0, 0),
        (counted(b"-1"), 0, 0),
        (counted(b"99999999999"), 0, 0),
        (counted("²".encode()), 0, 0),
    ],
)
def test_the_lineage_counts_what_came_before_and_what_went_from_here(
    headers: list[dict[str, Any]], redrives: int, expected: int
) -> None:
    assert lineage(letter(headers=headers, redrives=redrives)) == expected


def test_the_guard_stops_the_fourth_time_wherever_the_first_three_began() -> None:
    assert judge(letter(headers=counted(b"2")), 3, again=False) is None
    assert judge(letter(headers=counted(b"3")), 3, again=False) is Skipped.LOOP
    assert judge(letter(headers=counted(b"3")), 3, again=True) is Skipped.LOOP
    assert judge(letter(redrives=3), 3, again=True) is Skipped.LOOP


def test_a_letter_is_sent_once_unless_somebody_insists() -> None:
    assert judge(letter(redrives=1), 3, again=False) is Skipped.REDRIVEN
    assert judge(letter(redrives=1), 3, again=True) is None


def test_a_gap_has_nothing_to_send() -> None:
    assert judge(letter(kind="gap"), 3, again=True) is Skipped.NO_BYTES


def test_a_record_goes_as_it_came_but_for_the_header_that_counts() -> None:
    headers = [{"key": "trace", "value": b"1"}, *counted(b"1"), {"key": "empty", "value": None}]
    assert record_of(letter(headers=headers), b"\xff\x00") == Again(
        b"\xff\x00", b"k", (("trace", b"1"), ("empty", None), (HEADER, b"2"))
    )


def test_a_record_without_key_and_value_stays_one() -> None:
    assert record_of(letter(key=None), None) == Again(None, None, ((HEADER, b"1"),))
