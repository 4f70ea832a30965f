"""The commands of a client of its own, in the order in which they began and were answered."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close


@dataclass
class SeenCommands(CommandListener):
    """`begun` and `seen` have command and collection; `seen` says of each whether it begins or was answered."""

    begun: list[tuple[str, str]] = field(default_factory=list)
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    _collections: dict[int, str] = field(default_factory=dict)

    def started(self, event: CommandStartedEvent) -> None:
        collection = str(event.command.get(event.command_name))
        self._collections[event.request_id] = collection
        self.begun.append((event.command_name, collection))
        self.seen.append((event.command_name, collection, "begins"))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        self.seen.append((event.command_name, self._collections[event.request_id], "answered"))

    def failed(self, event: CommandFailedEvent) -> None:
        self.seen.append((event.command_name, self._collections[event.request_id], "failed"))


@contextlib.asynccontextmanager
async def seen_by(uri: str, database: Database) -> AsyncIterator[tuple[Database, SeenCommands]]:
    """The same database by a client whose commands are seen."""
    listener = SeenCommands()
    client = make_client(uri, listeners=[listener])
    try:
        yield open_database(client, database.prefix), listener
    finally:
        await close(client)
