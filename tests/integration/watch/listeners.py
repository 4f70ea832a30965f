"""Listeners that end a worker in the middle of its own traffic."""

import asyncio
from typing import Any

from bson import ObjectId
from pymongo import monitoring
from pymongo.collection import Collection
from pymongo.errors import OperationFailure


class Guillotine(monitoring.CommandListener):
    """Cancels a task in the middle of its n-th command: sent, but the answer is not waited for."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.commands: list[str] = []
        self.target: asyncio.Task[Any] | None = None

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.commands.append(event.command_name)
        if len(self.commands) == self.at and self.target is not None:
            self.target.cancel()

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to do."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to do."""


class Meddler(monitoring.CommandListener):
    """Writes to a document whenever a transaction is about to read its collection; `managed` counts the times.

    It gives up where the transaction holds the document already.
    """

    def __init__(self, collection: Collection[Any], identity: ObjectId) -> None:
        self._collection = collection
        self._identity = identity
        self.managed = self.refused = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command.get("find") != self._collection.name or event.command.get("autocommit") is not False:
            return
        update = {"q": {"_id": self._identity}, "u": {"$inc": {"views": 1}}}
        try:
            self._collection.database.command(
                {"update": self._collection.name, "updates": [update], "maxTimeMS": 300}
            )
            self.managed += 1
        except OperationFailure:
            self.refused += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to do."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to do."""


class Stopper(monitoring.CommandListener):
    """Says stop at the first `find` on a collection."""

    def __init__(self, collection: str) -> None:
        self.collection = collection
        self.stop: asyncio.Event | None = None

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if self.stop is not None and event.command.get("find") == self.collection:
            self.stop.set()

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to do."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to do."""
