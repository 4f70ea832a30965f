"""The formulas of docs/doctor.md, with figures that can be worked out by hand."""

import math
from datetime import timedelta

import pytest

from worker.operate.capacity.forecast import CollectionSize, Growth, Rate
from worker.operate.capacity.oplog import Oplog

# A byte of events, and two bytes of rows, for each of 1,000 events; 100 events come in a day.
STORE = CollectionSize("course_events", "content", 1_000, 5_000, 700, {"_id_": 200, "other": 100})
SERIES = CollectionSize("user_interactions", "analytics", None, 9_000, 1_900, {"by_user": 100})


def growth(kept_days: float = 0, per_day: float = 100.0, events: int = 1_000) -> Growth:
    return Growth(events, per_day, [STORE, SERIES], "user_interactions", kept_days)


def test_bytes_per_event_and_day_count_indexes_in() -> None:
    assert growth().bytes_per_event(STORE) == 1.0
    assert growth().bytes_per_event(SERIES) == 2.0
    assert growth().bytes_of_an_event == 3.0
    assert growth().bytes_per_day == 300.0
    assert growth().now_bytes == 3_000


def test_without_expiry_everything_grows_along() -> None:
    assert growth().in_days(30) == 3_000 + 30 * 300
    assert growth().in_days(365) == 3_000 + 365 * 300
    assert growth().days_until(3_000) == 10.0


def test_a_time_series_grows_until_as_much_expires_as_comes() -> None:
    """Of 30 days at 200 bytes a day there are 6,000 bytes: 20 days from now."""
    expiring = growth(kept_days=30)
    assert expiring.in_days(10) == 3_000 + 10 * 300
    assert expiring.in_days(365) == (1_000 + 365 * 100) + 6_000
    assert expiring.days_until(6_000) == 20.0
    assert expiring.days_until(12_000) == 20.0 + 6_000 / 100
    assert expiring.in_days(expiring.days_until(12_000)) == 3_000 + 12_000


def test_a_time_series_that_is_larger_already_stays_as_it_is() -> None:
    assert growth(kept_days=5).in_days(100) == 2_000 + (1_000 + 100 * 100)


@pytest.mark.parametrize(("per_day", "events"), [(0.0, 1_000), (100.0, 0)])
def test_where_nothing_grows_nothing_is_ever_full(per_day: float, events: int) -> None:
    assert growth(per_day=per_day, events=events).days_until(1) == math.inf
    assert growth(kept_days=30, per_day=per_day, events=events).days_until(1) == math.inf
    assert growth(per_day=per_day, events=events).in_days(365) == 3_000


def test_a_full_disk_is_full_now() -> None:
    assert growth().days_until(0) == 0.0


def test_a_rate_is_by_the_day() -> None:
    assert Rate(60, timedelta(hours=6)).per_day == 240


def test_an_oplog_that_is_not_full_is_judged_by_its_rate() -> None:
    """An hour in a tenth of it: ten hours; a full one reaches as far as it does; what is kept in any case counts."""
    assert Oplog(3_600, 100, 1_000).hours == 10
    assert Oplog(3_600, 1_000, 1_000).hours == 1
    assert Oplog(3_600, 1_000, 1_000, least_s=7_200).hours == 2
    assert "at this rate it will reach 10.0 hours back" in Oplog(3_600, 100, 1_000).words
