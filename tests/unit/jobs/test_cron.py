"""When an expression fires, above all in the nights whose clock jumps."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.jobs.schedule.cron import Cron

BERLIN = "Europe/Berlin"
# 2026: on 29 March 02:00 becomes 03:00, on 25 October 03:00 becomes 02:00.
SPRING, AUTUMN = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)


def fired(text: str, around: datetime, zone: str = BERLIN) -> list[str]:
    """What fires on the local day of that date, in UTC."""
    begin = datetime(around.year, around.month, around.day, tzinfo=ZoneInfo(zone))
    last = (begin + timedelta(days=1)).astimezone(UTC) - timedelta(seconds=1)
    firings = Cron.parse(text, zone).between(begin.astimezone(UTC) - timedelta(seconds=1), last)
    return [f"{each:%H:%M}" for each in firings]


@pytest.mark.parametrize("text", ["30 2 * * *", "*/60 2 * * *", "30 2-2 * * SUN"])
def test_half_past_two_fires_once_in_both_nights(text: str) -> None:
    minute = text[:2]
    assert fired(text, SPRING) == ["01:00"]  # right after the gap: 03:00 local
    assert fired(text, AUTUMN) == ["00:30" if minute == "30" else "00:00"]  # the first 02:30 of two


def test_several_times_within_the_gap_are_one_firing_behind_it() -> None:
    assert fired("*/15 2 * * *", SPRING) == ["01:00"]
    assert fired("*/15 2 * * *", AUTUMN) == ["00:00", "00:15", "00:30", "00:45"]


def test_what_also_fires_right_behind_the_gap_fires_once() -> None:
    assert fired("0 2,3 * * *", SPRING) == ["01:00"]
    assert fired("0 2,3 * * *", AUTUMN) == ["00:00", "02:00"]


@pytest.mark.parametrize("text", ["0 * * * *", "0 0-23 * * *", "0 */1 * * *"])
def test_what_fires_every_hour_fires_in_every_hour_that_passes(text: str) -> None:
    assert len(fired(text, SPRING)) == 23
    assert len(fired(text, AUTUMN)) == 25


def test_where_midnight_does_not_exist_it_fires_at_one() -> None:
    assert fired("0 0 * * *", datetime(2025, 4, 25, tzinfo=UTC), "Africa/Cairo") == ["22:00"]


def test_where_a_whole_day_does_not_exist_it_fires_when_the_next_one_begins() -> None:
    """Samoa left out 30 December 2011, from UTC-10 to UTC+14."""
    cron = Cron.parse("0 12 30 12 *", "Pacific/Apia")
    assert cron.next(datetime(2011, 12, 1, tzinfo=UTC)) == datetime(2011, 12, 30, 10, tzinfo=UTC)


def test_started_in_the_repeated_hour_it_does_not_fire_again() -> None:
    second_ten_past_two = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    assert Cron.parse("30 2 * * *", BERLIN).next(second_ten_past_two) == datetime(
        2026, 10, 26, 1, 30, tzinfo=UTC
    )


_FIELD = st.sampled_from(["*", "*/15", "0", "30", "5,35", "10-20"])
_HOUR = st.sampled_from(["*", "*/6", "2", "1-3", "0,2,23", "0-23"])
_ZONE = st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "UTC"])


@given(_FIELD, _HOUR, _ZONE, st.integers(0, 2 * 366 * 24 * 60))
def test_firings_are_the_same_wherever_one_begins_to_look(minute: str, hour: str, zone: str, at: int) -> None:
    """So two schedulers, and one that was started anew, speak of the same firings."""
    cron = Cron.parse(f"{minute} {hour} * * *", zone)
    begin = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=at)
    firings = cron.between(begin, begin + timedelta(days=2))
    for each in range(0, len(firings) - 1, 7):
        assert cron.next(firings[each]) == firings[each + 1]
        middle = firings[each] + (firings[each + 1] - firings[each]) / 2
        assert cron.next(middle) == firings[each + 1]


@given(_FIELD, _ZONE, st.integers(0, 2 * 366 * 24))
def test_what_fires_every_hour_keeps_to_the_minutes_of_the_wall(minute: str, zone: str, at: int) -> None:
    """Held against every minute that passes."""
    cron, where = Cron.parse(f"{minute} * * * *", zone), ZoneInfo(zone)
    begin = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=at)
    wanted = set(_minutes(minute))
    passing = (begin + timedelta(minutes=number) for number in range(1, 1_441))
    expected = [each for each in passing if each.astimezone(where).minute in wanted]
    assert cron.between(begin, begin + timedelta(days=1)) == expected


def _minutes(text: str) -> list[int]:
    return {
        "*": list(range(60)),
        "*/15": [0, 15, 30, 45],
        "0": [0],
        "30": [30],
        "5,35": [5, 35],
        "10-20": list(range(10, 21)),
    }[text]


@given(_FIELD, _HOUR.filter(lambda hour: hour not in ("*", "0-23")), _ZONE, st.integers(0, 2 * 366))
def test_all_others_fire_once_for_each_time_of_a_day(minute: str, hour: str, zone: str, at: int) -> None:
    """No time on the wall fires twice on a date, and none is left out but for one firing behind a gap."""
    cron, where = Cron.parse(f"{minute} {hour} * * *", zone), ZoneInfo(zone)
    day = datetime(2025, 1, 1, tzinfo=where) + timedelta(days=at)
    begin, end = day.astimezone(UTC), (day + timedelta(days=1)).astimezone(UTC)
    usual = len(
        cron.between(datetime(2025, 1, 14, 23, 59, tzinfo=UTC), datetime(2025, 1, 15, 23, 59, tzinfo=UTC))
    )
    walls = [f"{each.astimezone(where):%d %H:%M}" for each in cron.between(begin - timedelta(seconds=1), end)]
    walls = [each for each in walls if each.startswith(f"{day:%d}")]
    assert len(walls) == len(set(walls)) <= usual
    if end - begin >= timedelta(days=1):
        assert len(walls) == usual


@pytest.mark.parametrize(
    ("text", "zone", "reason"),
    [
        ("30 2 * *", "UTC", "must have five fields: minute, hour, day of month, month, day of week"),
        ("@daily", "UTC", "must have five fields"),
        ("0 30 2 * * *", "UTC", "must have five fields"),
        ("61 2 * * *", "UTC", "cannot be read: bad minute"),
        ("0 2 31 2 *", "UTC", "cannot be read: bad day-of-month"),
        ("0 2 * * MONDAY", "UTC", "cannot be read: bad day-of-week"),
        ("0 2 * * *", "Europe/Berlino", "'Europe/Berlino' is no time zone"),
        ("0 2 * * *", "", "is no time zone"),
        ("0 2 * * *", "../etc/passwd", "is no time zone"),
    ],
)
def test_what_cannot_fire_is_refused_in_words(text: str, zone: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Cron.parse(text, zone)


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("*/15 * * * *", 0.25),
        ("0 4 * * *", 24),
        ("0 4 * * MON-FRI", 72),
        ("0 5 * * SUN", 168),
        ("0 6 1 * *", 744),
    ],
)
def test_the_longest_wait_is_the_longest_time_between_the_firings_that_come_next(
    text: str, hours: float
) -> None:
    assert Cron.parse(text, "UTC").longest_wait(datetime(2026, 1, 6, tzinfo=UTC)) == timedelta(hours=hours)
