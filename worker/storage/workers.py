"""Which workers live: a document each, written again every few seconds by the server's time, gone with the worker.

Nothing is decided by it. Leases say who works on what; this says who is there, with which roles and of which release.
"""

from dataclasses import dataclass
from datetime import timedelta

from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.reading import Unreadable
from worker.storage.worker_models import Worker

SEEN_EVERY_S = 10.0
"""How often a worker says that it lives: one small write."""
LIVES_FOR = timedelta(seconds=3 * SEEN_EVERY_S)
"""Silence after which a worker counts as gone: one slow answer, or two, say nothing."""
FORGOTTEN_S = 3_600
"""Silence after which its document is removed. Until then it tells that somebody ended without a word."""


@dataclass(frozen=True, slots=True)
class Running:
    """A run of a process, as it says of itself; `id` names no other run.

    `owned` are the shared collections whose documents it makes.
    """

    id: str
    host: str
    pid: int
    roles: tuple[str, ...]
    version: str
    revision: str
    python: str
    owned: tuple[str, ...] = ()


_SAID = ("host", "pid", "version", "revision", "python")


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker as it is stored, and for how long it has been silent by the server's time."""

    worker: Worker
    silent: timedelta

    @property
    def lives(self) -> bool:
        return self.silent < LIVES_FOR


async def say_alive(database: Database, running: Running) -> None:
    """Write that this worker lives. May run twice, at any time."""
    lists = {"roles": list(running.roles), "owned": list(running.owned)}
    said = {**lists, **{name: getattr(running, name) for name in _SAID}}
    document: Document = {
        **{name: {"$literal": value} for name, value in said.items()},
        "started_at": {"$ifNull": ["$started_at", "$$NOW"]},
        "seen_at": "$$NOW",
    }
    with translated():
        await database.workers.update_one({"_id": running.id}, [{"$set": document}], upsert=True)


async def say_gone(database: Database, running: Running) -> None:
    """Take the document back. May run twice."""
    with translated():
        await database.workers.delete_one({"_id": running.id})


async def known_workers(database: Database) -> tuple[list[Seen], list[Unreadable]]:
    """Those that live, and those that have ended without a word lately; and documents that make no sense."""
    pipeline: list[Document] = [{"$sort": {"_id": 1}}, {"$set": {"now": "$$NOW"}}]
    taken = (await reading.aggregate(database.workers, pipeline)).through(_seen)
    return taken.values, taken.unreadable


def _seen(row: Document) -> Seen:
    now = row.pop("now")
    worker = Worker.model_validate(row)
    return Seen(worker, now - worker.seen_at)
