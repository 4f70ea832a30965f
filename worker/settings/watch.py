"""Watch: how changes are followed, and which milestones are announced when they are counted."""

from datetime import timedelta

from pydantic import Field

from worker.settings.group import Group
from worker.settings.role import LeasedRoleSettings


class WatchSettings(LeasedRoleSettings):
    """How a follower follows."""

    # A document is read and written once a batch, however many of its changes the batch holds: 10,000 instead of
    # 2,000 makes a backlog of interleaved learners three times as fast. An idle stream gives small batches.
    changes_per_batch: int = 10_000
    # A turn costs eight commands, however few its changes.
    pace_s: float = 0.05
    # Who is behind takes so many batches in one turn: what many of their changes are about is written once.
    batches_a_turn: int = 3
    # So long at most a turn waits for ingest of the same process while that is behind: `worker.backlog`.
    backlog_pace_s: float = 5.0
    await_ms: int = 500  # how long an idle turn takes: a beat, and a look at `stop`
    # Saving is one majority write; what a crash repeats in this time is harmless. Idle: see `TokenSaver`.
    save_every_s: float = 1.0
    save_idle_every_s: float = 10.0
    # The token moves with every renewal, every few seconds: this long without one, the majority is lost.
    silent_after_s: float = 60.0


class CoolDownSettings(Group):
    """How often one document is summed because somebody else wrote to it.

    `at_most_every_s` always, `turns` times in a row; a further turn is earned in `then_every_s`.
    """

    at_most_every_s: float = 5.0
    # A minute of being overwritten without a pause: nobody edits a course by hand for that long.
    turns: int = 12
    then_every_s: float = 60.0


class CountsSettings(WatchSettings):
    """How the records are followed, and what is announced of them."""

    # Nobody waits for statistics, and a turn costs a transaction.
    pace_s: float = 0.5
    # A transaction that fails has the turn tried again: it shall not be larger than that.
    batches_a_turn: int = 1
    # Litter of a few hundred bytes per document that was absent once.
    forget_every_s: float = 600.0
    cool_down: CoolDownSettings = CoolDownSettings()
    notify_within_hours: float = Field(48.0, ge=0, le=24 * 366 * 100)
    """How old a milestone may be, when it is counted, to be announced; an older one is suppressed."""
    revenue_currency: str = Field("USD", pattern=r"^[A-Z]{3}$")
    """In which currency `users.stats.total_revenue` is shown; after a change run `rebuild counts`."""

    @property
    def notify_within(self) -> timedelta:
        """An older milestone is not announced: whoever reads a history writes to nobody."""
        return timedelta(hours=self.notify_within_hours)
