"""Intervals: one text for all spellings of the same time, ranges in whole intervals, mistakes in words."""

import pytest

from worker.jobs.interval import parse_duration, parse_interval, parse_moment, split


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("2026-11-21/P1D", "2026-11-21/P1D"),
        ("2026-11-21/2026-11-22", "2026-11-21/P1D"),
        ("2026-11-21T00:00:00Z/PT24H", "2026-11-21/P1D"),
        ("2026-11-21T02:00+02:00/P1D", "2026-11-21/P1D"),
        ("20261121/P1W", "2026-11-21/P7D"),
        ("2026-11-21T06:30Z/PT90M", "2026-11-21T06:30:00Z/PT90M"),
        ("2026-02-01/P1M", "2026-02-01/P28D"),
        ("2024-01-31/P1M", "2024-01-31/P29D"),
        ("2026-11-21/PT1S", "2026-11-21/PT1S"),
    ],
)
def test_all_spellings_of_a_time_are_one_interval(written: str, text: str) -> None:
    assert str(parse_interval(written)) == text
    assert parse_interval(text) == parse_interval(written)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("2026-11-21", "is no interval"),
        ("yesterday/P1D", "'yesterday' is no date"),
        ("2026-11-21/1D", "'1D' is no date"),
        ("2026-11-21/P", "'P' is no duration"),
        ("2026-11-21/PT", "'PT' is no duration"),
        ("2026-11-21/P1DT", "is no duration"),
        ("2026-11-21/P0D", "no time at all"),
        ("2026-11-21/P-1D", "is no duration"),
        ("2026-11-21/P1.5D", "is no duration"),
        ("2026-11-21/2026-11-21", "ends before it has begun"),
        ("2026-11-21/P9999Y", "beyond the year 9999"),
        ("2026-11-21T00:00:00.5/P1D", "whole seconds"),
    ],
)
def test_what_is_no_interval_is_refused_in_words(written: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_interval(written)


def intervals(start: str, end: str, every: str) -> list[str]:
    return [str(each) for each in split(parse_moment(start), parse_moment(end), parse_duration(every))]


def test_a_range_is_split_without_gap_or_overlap() -> None:
    assert intervals("2026-11-29", "2026-12-02", "P1D") == [
        "2026-11-29/P1D",
        "2026-11-30/P1D",
        "2026-12-01/P1D",
    ]
    assert intervals("2026-01-01", "2026-04-01", "P1M") == [
        "2026-01-01/P31D",
        "2026-02-01/P28D",
        "2026-03-01/P31D",
    ]
    # Counted from the start: February shortens no other month.
    assert intervals("2026-01-31", "2026-03-31", "P1M") == ["2026-01-31/P28D", "2026-02-28/P31D"]


def test_a_range_that_is_no_row_of_intervals_is_refused() -> None:
    with pytest.raises(ValueError, match="does not end with an interval: 2026-11-22 or 2026-11-23 would"):
        intervals("2026-11-21", "2026-11-22T12:00", "P1D")
    with pytest.raises(ValueError, match=r"more than 10,000 intervals"):
        intervals("2026-11-21", "2026-11-22", "PT1S")
    with pytest.raises(ValueError, match="ends before it has begun"):
        intervals("2026-11-22", "2026-11-21", "P1D")
