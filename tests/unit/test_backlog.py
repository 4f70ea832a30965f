"""Whether ingest is behind: by what it said last, for as long as that can be believed."""

from tests.support.clocks import ManualClock
from worker.backlog import Backlog

LARGE = 5_000


def test_without_a_word_of_ingest_nobody_waits() -> None:
    assert not Backlog(ManualClock()).is_large


def test_what_is_stored_within_a_second_is_no_backlog() -> None:
    backlog = Backlog(ManualClock())
    backlog.note(LARGE - 1)
    assert not backlog.is_large
    backlog.note(LARGE)
    assert backlog.is_large


def test_it_is_over_as_soon_as_ingest_says_so() -> None:
    backlog = Backlog(ManualClock())
    backlog.note(LARGE)
    backlog.note(0)
    assert not backlog.is_large


def test_what_ingest_said_long_ago_is_not_believed() -> None:
    clock = ManualClock()
    backlog = Backlog(clock)
    backlog.note(LARGE)
    clock.advance(29.0)
    assert backlog.is_large
    clock.advance(2.0)
    assert not backlog.is_large
