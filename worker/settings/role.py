"""What every role is told: how long it may drain, which code it is, and how it holds a lease."""

from pydantic import Field

from worker import __version__
from worker.settings.group import Group


class RoleSettings(Group):
    """What concerns the process and every role in it; each role's group has its own copy."""

    drain_deadline_s: float = Field(20.0, gt=0, le=600, validation_alias="drain_deadline_s")
    """Time to finish what is in hand at a stop. Below the grace period of the orchestrator."""
    revision: str = Field("unknown", validation_alias="revision")
    """Source revision, shown in the metric build_info. Set by the image."""
    release: str = __version__

    @property
    def code_version(self) -> str:
        """What tells one code from another: a fix may come without a new version number."""
        return self.release if self.revision == "unknown" else f"{self.release}+{self.revision}"


class LeasedRoleSettings(RoleSettings):
    """Of a role that works under leases."""

    lease_s: float = Field(10.0, ge=2, le=300, validation_alias="watch_lease_s")
    """Silence after which another worker takes over this one's slot groups."""
    # One slow answer costs no lease.
    renewals_per_lease: float = 3.0

    @property
    def renew_every_s(self) -> float:
        return self.lease_s / self.renewals_per_lease
