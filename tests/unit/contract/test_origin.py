"""The job that brought an event stands in a header of its record; whatever else stands there says nothing."""

import pytest

from worker.contract.origin import HEADER, origin_header, origin_of


def test_a_job_is_named_by_the_header_it_publishes_with() -> None:
    assert origin_of([("trace", b"1"), origin_header("backfill")]) == "backfill"


@pytest.mark.parametrize(
    "value",
    [None, b"", b"Backfill", b"1st", b"two words", b"line\n", b"x" * 64, b"\xff", b"{}"],
)
def test_what_is_no_name_of_a_job_says_nothing(value: bytes | None) -> None:
    assert origin_of([(HEADER, value)]) is None


def test_a_record_of_a_producer_has_no_origin() -> None:
    assert origin_of([]) is None
    assert origin_of([(HEADER.upper(), b"backfill")]) is None
