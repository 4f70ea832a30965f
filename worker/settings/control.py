"""Control at run time: whose documents of `system_settings` a process goes by, and how soon it sees them."""

from typing import Literal

from pydantic import Field

from worker.settings.group import Group

Environment = Literal["development", "staging", "production"]
"""As the platform names them in `system_settings`."""


class ControlSettings(Group):
    """Which switches and limits concern this process."""

    environment: Environment = Field("production", validation_alias="environment")
    """Whose documents in system_settings concern this process: development, staging or production."""
    look_every_s: float = 1.0  # one small read of every process
