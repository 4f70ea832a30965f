"""What the user that is logged in to MongoDB may do, as the server says it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.storage.database import Client
from worker.storage.errors import translated


@dataclass(frozen=True, slots=True)
class Privileges:
    """Resources with the actions that are allowed on them; `granted` is None where the server asks nobody."""

    granted: Sequence[Mapping[str, Any]] | None

    def allows(self, action: str, home: str, collection: str = "") -> bool:
        """Whether the action is allowed on a collection of this database; without a name, on the database."""
        if self.granted is None:
            return True
        return any(
            action in each["actions"] and _covers(each["resource"], home, collection) for each in self.granted
        )


async def read_privileges(client: Client) -> Privileges:
    """Of whoever is logged in. Every user may ask for its own."""
    with translated():
        reply = await client.admin.command("connectionStatus", showPrivileges=True)
    information = reply["authInfo"]
    # Nobody logged in, and yet commands are answered: the server asks nobody for permission.
    nobody = not information["authenticatedUsers"]
    return Privileges(None if nobody else information["authenticatedUserPrivileges"])


def _covers(resource: Mapping[str, Any], home: str, name: str) -> bool:
    """An empty name stands for all databases, or for all their collections but the server's own."""
    if resource.get("anyResource"):
        return True
    every = () if name.startswith("system.") else ("",)
    return resource.get("db") in ("", home) and resource.get("collection") in (*every, name)
