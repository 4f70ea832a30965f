"""Listeners that end a worker in the middle of its own traffic."""

import asyncio

from pymongo import monitoring


class Guillotine(monitoring.CommandListener):
    """Cancels a task in the middle of its n-th command: sent, but the answer is not waited for."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.commands: list[str] = []
        self.victim: asyncio.Task[None] | None = None

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.commands.append(event.command_name)
        if len(self.commands) == self.at and self.victim is not None:
            self.victim.cancel()

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
