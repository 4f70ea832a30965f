"""Ownership: who keeps the documents that both the platform and the worker could keep."""

from collections.abc import Set
from typing import Literal

from projections.catalogue import SHARED, catalogue_for
from projections.kinds import Catalogue
from worker.settings.group import Group
from worker.settings.names import variable

Owner = Literal["external", "worker"]


def owner_variables(owned: Set[str]) -> dict[str, str]:
    """Who keeps the shared collections, as the variables of an environment say it."""
    return {variable(f"{name}_owner"): "worker" if name in owned else "external" for name in sorted(SHARED)}


class OwnershipSettings(Group):
    """Who keeps `courses` and `users`; of an external one's documents only the sums are the worker's."""

    courses_owner: Owner = "external"
    """Who writes courses: external, the platform; or worker, of the course events. Change it by docs/adopting.md."""
    users_owner: Owner = "external"
    """Who writes users: external, the platform; or worker, of the account events. Change it by docs/adopting.md."""

    @property
    def owned(self) -> frozenset[str]:
        """The shared collections whose documents are the worker's."""
        owners = {"courses": self.courses_owner, "users": self.users_owner}
        return frozenset(name for name, owner in owners.items() if owner == "worker")

    @property
    def catalogue(self) -> Catalogue:
        """The projections of this process."""
        return catalogue_for(self.owned)
