"""Jobs: who is named in their runs and in the audit, and how their runner holds its lease."""

import getpass
import os
import socket
from typing import Annotated

from pydantic import Field, StringConstraints

from worker.settings.group import Group


class JobsSettings(Group, alias_generator="jobs_{}".format):
    """How jobs are run, and who runs them."""

    operator: Annotated[str, StringConstraints(max_length=200)] | None = Field(
        None, validation_alias="operator"
    )
    """Who is named in job_runs and audit; empty means the user of the operating system."""
    lease_s: float = Field(10.0, ge=2, le=300)
    """Silence after which another process may go on with a job's run."""
    max_lag_s: float = Field(1.0, ge=0, le=3_600)
    """How far live projections may lag behind before jobs wait for them; 0 means that jobs never wait."""
    nice: int = Field(10, ge=0, le=19)
    """How far a process that runs jobs lowers its priority beside a worker on the same machine."""
    measure_every_s: float = 0.25  # two or three small reads each
    # How soon a run sees that what it published is shown: a part of what a step may take.
    look_at_steps_every_s: float = 0.03
    # One slow answer costs no lease.
    renewals_per_lease: float = 3.0
    # How soon a run that waits sees that it may go on, or is to end.
    look_every_s: float = 1.0
    # A job whose dependency is away is begun again from its checkpoint; without a step for so long it ends instead.
    patience_s: float = 120.0

    @property
    def who(self) -> str:
        """Who gives a command, and on which machine: `anna@ops-1`."""
        return f"{self.operator or _user()}@{socket.gethostname()}"

    @property
    def renew_every_s(self) -> float:
        return self.lease_s / self.renewals_per_lease


def _user() -> str:
    """The user of the operating system; a container's may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
