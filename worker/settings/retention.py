"""Retention: how long what is history is kept. Everything that has no setting here is kept for ever."""

from collections.abc import Iterator
from datetime import timedelta

from pydantic import Field

from worker.settings.group import Group

_DAY_S = 24 * 3_600
# The server counts seconds in 31 bits: 68 years.
_LONGEST_DAYS = (2**31 - 1) // _DAY_S


class RetentionSettings(Group, alias_generator="retention_{}".format):
    """Days after which the server removes what nobody needs any more; `schema apply` tells the server."""

    time_series_days: int | None = Field(None, ge=0, le=_LONGEST_DAYS)
    """Age of an event at which its time-series row is removed; 0 keeps all rows, empty what the collection has."""
    completed_items_days: int = Field(7, ge=1, le=_LONGEST_DAYS)
    """How long completed items of the queue are kept."""
    job_runs_days: int = Field(400, ge=1, le=_LONGEST_DAYS)
    """How long job runs that ended are kept: in this time an interval is not run twice."""
    before_images_days: int = Field(30, ge=1, le=_LONGEST_DAYS)
    """How long the documents that a promotion replaced are kept: in this time it can be rolled back."""

    @property
    def time_series_s(self) -> int | None:
        """Seconds; 0 for never, None where nobody said."""
        return None if self.time_series_days is None else self.time_series_days * _DAY_S

    @property
    def completed_items_s(self) -> int:
        return self.completed_items_days * _DAY_S

    @property
    def job_runs_s(self) -> int:
        return self.job_runs_days * _DAY_S

    @property
    def job_runs(self) -> timedelta:
        return timedelta(days=self.job_runs_days)

    @property
    def before_images_s(self) -> int:
        return self.before_images_days * _DAY_S

    def mistakes(self) -> Iterator[str]:
        """Before-images are found by the run that made them."""
        if self.job_runs_days < self.before_images_days:
            yield (
                f"{self.variable('job_runs_days')} ({self.job_runs_days}) must not be below "
                f"{self.variable('before_images_days')} ({self.before_images_days}): "
                "a promotion is rolled back by its run"
            )
