"""The database as commands open it: one that answers, holds our collections, and is the one that was meant."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from worker.app.dependencies import Probe, mongodb_probe, require_answers
from worker.app.serving import opened
from worker.errors import SchemaMismatch, WorkerError
from worker.settings import Settings, variable
from worker.storage.database import Database
from worker.storage.errors import translated

_CONTENT = "_content"
# Enough to recognise the right one; a server may hold hundreds.
_PREFIXES_NAMED = 5


@asynccontextmanager
async def opened_in_use(settings: Settings, *probes: Probe) -> AsyncIterator[Database]:
    """`opened`, once MongoDB and everything in `probes` answer and the event store is there.

    Raises `Unreachable` in the words of `run`, and `SchemaMismatch` for a database prefix that nobody uses: an empty
    answer would look like good news.
    """
    async with opened(settings) as database:
        await require_answers([mongodb_probe(database), *probes])
        await require_event_store(database, settings.mongodb.database_prefix)
        yield database


def mongodb_probe_of(settings: Settings) -> Probe:
    """Asks the settings' MongoDB over a client of its own."""

    async def ask() -> None:
        async with opened(settings) as database:
            await mongodb_probe(database).ask()

    return Probe("mongodb", ask, variable("mongodb_uri"))


@asynccontextmanager
async def opened_to_change(settings: Settings) -> AsyncIterator[Database]:
    """`opened`, once MongoDB answers; nothing has to be there yet."""
    async with opened(settings) as database:
        await require_answers([mongodb_probe(database)])
        yield database


async def require_event_store(database: Database, prefix: str) -> None:
    """Raise `SchemaMismatch` for a database prefix that nobody uses."""
    with translated():
        names = await database.course_events.database.list_collection_names(
            filter={"name": database.course_events.name}
        )
    if not names:
        raise SchemaMismatch(
            f"{prefix}{_CONTENT} holds no event store: is {variable('database_prefix')} right?"
            f"{_others(await _prefixes(database))} `sevenp-worker schema apply` would create it"
        )


async def _prefixes(database: Database) -> list[str]:
    """Prefixes that are in use on this server, as far as this user may see them."""
    with suppress(WorkerError), translated():
        names = await database.client.list_database_names()
        return sorted(name.removesuffix(_CONTENT) for name in names if name.endswith(_CONTENT))
    return []


def _others(prefixes: Sequence[str]) -> str:
    if not prefixes:
        return ""
    more = " and others" if len(prefixes) > _PREFIXES_NAMED else ""
    return f" This server has {', '.join(prefixes[:_PREFIXES_NAMED])}{more}."
