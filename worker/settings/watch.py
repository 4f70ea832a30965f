"""Watch: how changes are followed, and which milestones are announced when they are counted."""

from datetime import timedelta

from pydantic import Field

from worker.settings.group import Group


class WatchSettings(Group, alias_generator="watch_{}".format):
    """How the roles progress and counts follow changes."""

    lease_s: float = Field(
        10.0,
        ge=2,
        le=300,
        description="Silence after which another worker takes over this one's slot groups.",
    )
    notify_within_hours: float = Field(
        48.0,
        ge=0,
        le=24 * 366 * 100,
        validation_alias="notify_within_hours",
        description="How old a milestone may be, when it is counted, to be announced; an older one is suppressed.",
    )
    # One slow answer costs no lease.
    renewals_per_lease: int = 3

    @property
    def renew_every_s(self) -> float:
        return self.lease_s / self.renewals_per_lease

    @property
    def notify_within(self) -> timedelta:
        """An older milestone is not announced: whoever reads a history writes to nobody."""
        return timedelta(hours=self.notify_within_hours)
