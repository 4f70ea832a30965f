"""How far a partition is behind, by what is known of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from worker.ingest.lag import EndHistory, Lag, Owned, lag_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def history(*ends: tuple[int, float]) -> EndHistory:
    """Ends that were seen at these seconds."""
    seen = EndHistory()
    for end, at in ends:
        seen.saw(end, at)
    return seen


def lag(seen: EndHistory, base: int, at_s: float, **owned: Any) -> Lag | None:
    """The lag at second `at_s`, which is so many seconds after noon."""
    now = NOON + timedelta(seconds=at_s)
    return lag_of(seen, Owned(**owned), base, now=now, monotonic=at_s)


def before_noon(seconds: float) -> datetime:
    return NOON - timedelta(seconds=seconds)


def test_before_kafka_has_answered_nothing_is_known() -> None:
    assert lag(EndHistory(), 5, 0) is None


def test_who_has_read_everything_is_not_behind_however_old_the_last_record_is() -> None:
    assert lag(history((10, 0)), 10, 500, last_durable=before_noon(3_600)) == Lag(0, 0)


def test_a_log_that_was_made_anew_is_not_behind_its_old_offset() -> None:
    assert lag(history((3, 0)), 10, 500) == Lag(0, 0)


def test_the_age_grows_with_the_clock_from_when_the_record_was_first_seen_to_be_there() -> None:
    seen = history((10, 0), (10, 3), (12, 6), (500, 9))
    assert lag(seen, 10, 9) == Lag(490, 3)
    assert lag(seen, 10, 99) == Lag(490, 93)
    assert lag(seen, 12, 99) == Lag(488, 90)


def test_the_last_durable_record_says_nothing_of_one_that_came_long_after_it() -> None:
    seen = history((10, 0), (11, 6))
    assert lag(seen, 10, 7, last_durable=before_noon(3_600)) == Lag(1, 1)


def test_of_what_lay_there_before_anybody_looked_the_last_durable_record_tells_the_age() -> None:
    seen = history((1_000, 0))
    assert lag(seen, 400, 5) == Lag(600, 5)
    assert lag(seen, 400, 5, last_durable=before_noon(60)) == Lag(600, 65)


def test_a_record_in_hand_tells_its_age_itself() -> None:
    seen = history((10, 0), (20, 6))
    assert lag(seen, 10, 8, first_in_hand=before_noon(100)) == Lag(10, 108)


@pytest.mark.parametrize("known", ["first_in_hand", "last_durable"])
def test_a_record_from_the_future_is_as_old_as_it_has_been_seen_to_be(known: str) -> None:
    assert lag(history((20, 0)), 10, 8, **{known: NOON + timedelta(days=1)}) == Lag(10, 8)


def test_forgetting_what_is_durable_changes_no_lag() -> None:
    seen = history(*((number * 10, float(number)) for number in range(1, 100)))
    for base in (15, 20, 555, 990):
        before = lag(seen, base, 200)
        seen.forget_below(base)
        assert lag(seen, base, 200) == before


def test_a_history_that_nobody_shortens_stays_short_and_knows_the_end_and_the_begin() -> None:
    seen = history(*((number, float(number)) for number in range(10_000)))
    assert seen.end == 9_999
    assert lag(seen, 0, 10_000) == Lag(9_999, 9_999)
    assert (lag(seen, 5_000, 10_000) or (0, 0))[1] == pytest.approx(5_000, abs=100)
    assert lag(seen, 9_998, 10_000) == Lag(1, 1)


def test_a_lower_end_takes_the_place_of_what_was_seen_above_it() -> None:
    seen = history((10, 0), (20, 1), (15, 2))
    assert seen.end == 15
    assert lag(seen, 12, 5) == Lag(3, 3)
