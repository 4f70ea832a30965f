"""The scheduler: where its entries stand, and how late a firing may be."""

from datetime import timedelta

from pydantic import Field

from worker.settings.addresses import File
from worker.settings.control import Environment
from worker.settings.group import Group


class ScheduleSettings(Group, alias_generator="schedule_{}".format):
    """What the scheduler runs."""

    file: File | None = None
    """Entries of the scheduler (TOML); empty means those in system_settings."""
    environment: Environment | None = None
    """Of the entries in system_settings those of this environment run; empty means SEVENP_ENVIRONMENT."""
    of_process: Environment = Field("production", validation_alias="environment")
    """Whose documents in system_settings concern this process: development, staging or production."""
    # Entries are read again this often, and a wall clock that was put right is noticed.
    look_every_s: float = 30.0
    # How soon it is seen that somebody else's run has ended.
    ask_again_s: float = 5.0
    # Started later than this, a firing is a misfire. Far above what a busy machine or an election takes.
    late_after_s: float = 60.0
    # What was missed longer ago is not made up for; nor what was, and whose run is not on record any more.
    look_back_days: int = 31

    @property
    def entries_of(self) -> Environment:
        """The environment whose entries run."""
        return self.environment or self.of_process

    @property
    def late_after(self) -> timedelta:
        return timedelta(seconds=self.late_after_s)

    @property
    def look_back(self) -> timedelta:
        return timedelta(days=self.look_back_days)
