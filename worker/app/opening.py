"""The database as workers and commands open it: one that answers, holds our collections, and was meant."""

from collections.abc import AsyncIterator, Sequence, Set
from contextlib import asynccontextmanager, suppress

from pymongo.monitoring import CommandListener

from worker.app.dependencies import Probe, mongodb_probe, require_answers
from worker.app.mongodb import mongodb_options, with_setting_hint
from worker.errors import SchemaMismatch, WorkerError
from worker.settings import Settings, variable
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close
from worker.storage.errors import translated
from worker.storage.schema import check_schema

_CONTENT = "_content"
# Enough to recognise the right one; a server may hold hundreds.
_PREFIXES_NAMED = 5


@asynccontextmanager
async def opened(settings: Settings, *listeners: CommandListener) -> AsyncIterator[Database]:
    """The settings' database; its client is closed at the end. Nothing is sent before the first operation.

    Where MongoDB refuses the user, or we its certificate, the error that leaves the block names the setting.
    """
    client = make_client(
        settings.mongodb.uri.get_secret_value(),
        listeners=listeners,
        security=mongodb_options(settings.mongodb),
    )
    try:
        yield open_database(client, settings.mongodb.database_prefix, settings.ownership.catalogue)
    except WorkerError as error:
        if (better := with_setting_hint(error)) is error:
            raise
        raise better from error
    finally:
        await close(client)


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


async def assert_schema(settings: Settings, database: Database, *, besides: Set[str] = frozenset()) -> None:
    """Raise `SchemaMismatch` with every difference unless collections and indexes are as the code needs them.

    Nothing is asked of the collections `besides`.
    """
    found = await check_schema(database, external=settings.mongodb.external_collections | besides)
    if found:
        named = "; ".join(f"{each.collection} {each.what}: {each.found}" for each in found)
        raise SchemaMismatch(f"run `sevenp-worker schema apply` ({named})")


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
