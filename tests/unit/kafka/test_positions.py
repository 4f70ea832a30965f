"""Where reading goes on, for every place a position can be in relation to the log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contract.gaps import GapReason
from worker.kafka.positions import LogRange, Start, first_of, start_of
from worker.kafka.record import Partition
from worker.settings import StartPolicy

PARTITION = Partition("events", 3)


@pytest.mark.parametrize("position", [10, 15, 20])
def test_a_position_in_the_log_or_at_its_end_is_kept(position: int) -> None:
    assert start_of(PARTITION, position, LogRange(10, 20)) == Start(position)


def test_what_retention_removed_is_a_gap_of_exactly_these_offsets() -> None:
    start = start_of(PARTITION, 4, LogRange(10, 20))
    assert start.offset == 10
    assert start.gap is not None
    assert (start.gap.first_offset, start.gap.last_offset) == (4, 9)
    assert start.gap.reason is GapReason.RETENTION


def test_a_log_emptied_by_retention_is_read_from_its_end() -> None:
    start = start_of(PARTITION, 4, LogRange(10, 10))
    assert (start.offset, start.gap and start.gap.last_offset) == (10, 9)


def test_beyond_the_end_the_log_was_restarted_and_is_read_from_its_begin() -> None:
    start = start_of(PARTITION, 25, LogRange(0, 20))
    assert start.offset == 0
    assert start.gap is not None
    assert (start.gap.first_offset, start.gap.last_offset) == (20, 24)
    assert start.gap.reason is GapReason.LOG_RESTARTED


def test_with_an_unknown_end_nothing_lies_beyond_it() -> None:
    assert start_of(PARTITION, 25, LogRange(0, None)) == Start(25)


def test_with_an_unknown_end_retention_is_still_found() -> None:
    start = start_of(PARTITION, 4, LogRange(10, None))
    assert (start.offset, start.gap and start.gap.reason) == (10, GapReason.RETENTION)


@given(st.integers(0, 60), st.integers(0, 50), st.integers(0, 50))
def test_reading_goes_on_inside_the_log_and_never_passes_over_offsets_without_a_gap(
    position: int, begin: int, length: int
) -> None:
    start = start_of(PARTITION, position, LogRange(begin, begin + length))
    assert begin <= start.offset <= begin + length
    if start.gap is None:
        assert start.offset == position
    else:
        assert start.gap.first_offset <= start.gap.last_offset
        if start.offset > position:
            assert (start.gap.first_offset, start.gap.last_offset) == (position, start.offset - 1)


@pytest.mark.parametrize(
    ("policy", "added", "offset"),
    [("earliest", False, 10), ("earliest", True, 10), ("latest", False, 20), ("latest", True, 10)],
)
def test_only_latest_skips_what_is_in_the_log_and_never_in_a_partition_that_was_added(
    policy: str, added: bool, offset: int
) -> None:
    assert first_of(LogRange(10, None), 20, StartPolicy(policy), added=added) == offset
