"""Collections, validators and indexes as the code needs them: apply what is missing, report what differs.

Nothing is ever dropped. Collections that belong to another service (`external`) are neither made nor looked
at. Every step is one the server does at most once, so processes that apply at the same time all succeed.
How long anything is kept (`retention`) is no reason not to start: whoever names none is content with all.
"""

import asyncio
from collections.abc import Iterable, Set
from dataclasses import dataclass

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError, OperationFailure

from projections.kinds import Index
from worker.errors import Fatal, SchemaMismatch
from worker.settings import RetentionSettings
from worker.storage import driver, expiry, projection_state
from worker.storage.database import WRITE_CONCERN, Database, Document
from worker.storage.differences import (
    USUAL,
    Difference,
    Found,
    Wanted,
    differences,
    durations,
    in_words,
    same_validator,
    validation,
    wanted_of,
)
from worker.storage.errors import translated
from worker.storage.expiry import in_days
from worker.storage.models import LEASES_OF_NOW
from worker.storage.validators import validator

# The server's default for time series, zstd, took half of all its CPU once its cache was full: a bucket that gets one
# more row is compressed anew with all of its page. See docs/decisions/2026-11-27-time-series-without-zstd.md.
_TIME_SERIES_STORAGE: Document = {
    "storageEngine": {"wiredTiger": {"configString": "block_compressor=snappy"}}
}

_WAITS = "wait for the workers of the version before to end"
_NAMESPACE_EXISTS = 48
# CannotCreateIndex, IndexOptionsConflict, IndexKeySpecsConflict: an index of the same keys or name exists.
_INDEX_IN_THE_WAY = frozenset({67, 85, 86})


@dataclass(frozen=True, slots=True)
class Change:
    """One thing `apply_schema` did: `what` is "collection", "validator" or "index <name>"."""

    collection: str
    what: str
    done: str


async def apply_schema(
    database: Database, *, external: Set[str] = frozenset(), retention: RetentionSettings = USUAL
) -> list[Change]:
    """Create what is missing, replace validators and durations that differ; the second call changes nothing.

    Raises `SchemaMismatch` for what only an operator can resolve: an index of that name with another meaning,
    a plain collection where a time series is needed, documents that already break a unique index. Everything else is
    made before.
    """
    found = await _look(database, external)
    applied = await asyncio.gather(
        *(
            _apply(database, wanted, found[wanted.collection])
            for wanted in _ours(database, external, retention)
        ),
        return_exceptions=True,
    )
    if errors := [each for each in applied if isinstance(each, BaseException)]:
        raise next((each for each in errors if not isinstance(each, SchemaMismatch)), errors[0])
    done = [changes for changes in applied if not isinstance(changes, BaseException)]
    migrated = await _migrate(database, found.get("leases"))
    left = await check_schema(database, external=external, retention=retention)
    if left:
        raise SchemaMismatch("; ".join(_sentence(difference) for difference in left))
    return [*(change for changes in done for change in changes), *migrated]


async def apply_to(
    name: str,
    database: Database,
    *,
    external: Set[str] = frozenset(),
    retention: RetentionSettings = USUAL,
) -> list[Change]:
    """`apply_schema` for one collection; what differs for good is left to it."""
    for wanted in _ours(database, external, retention):
        if wanted.collection == name:
            return await _apply(database, wanted, await _look_at(database, name))
    return []


async def check_schema(
    database: Database, *, external: Set[str] = frozenset(), retention: RetentionSettings | None = None
) -> list[Difference]:
    """Everything that differs from what the code needs, in a fixed order; empty when all is well."""
    found = await _look(database, external)
    different = []
    for wanted in _ours(database, external, retention or USUAL):
        present = found[wanted.collection]
        different += differences(wanted, present)
        if retention is not None:
            different += map(in_words, durations(wanted, present))
    if await projection_state.needs_migration(database, open_leases=_are_open(found.get("leases"))):
        different.append(Difference("projection_state", "documents", "taken over", "in watch_positions"))
    return different


async def _migrate(database: Database, leases: Found | None) -> list[Change]:
    """Take over `watch_positions`: at once, or, while a worker of the version before lives, by the workers later.

    `leases` is None where somebody else keeps that collection: it is left as it is.
    """
    if await projection_state.needs_migration(database, open_leases=_are_open(leases)):
        await projection_state.begin_migration(database)
    elif not await projection_state.is_migrating(database):
        return []
    moved = await projection_state.finish_migration(database, close_leases=leases is not None)
    done = "moved to projection_state" if moved else _WAITS
    return [Change("watch_positions", "documents", done)]


def _are_open(leases: Found | None) -> bool:
    """Whether `leases` lets workers live that do not know `projection_state`."""
    return leases is None or (leases.options or {}).get("validator") != validator(LEASES_OF_NOW)


async def _apply(database: Database, wanted: Wanted, found: Found) -> list[Change]:
    """Bring one collection as near to what is wanted as can be done without dropping anything."""
    name, home, changes = wanted.collection, database.home(wanted.collection), []
    if found.options is None:
        if await _create(home, wanted):
            changes.append(Change(name, "collection", "created"))
        found = await _look_at(database, name)
    if found.options is not None and not same_validator(wanted, found.options):
        await _command(home, {"collMod": name, **validation(wanted)})
        changes.append(Change(name, "validator", "set"))
    missing = [index for index in wanted.indexes if found.index(index.name) is None]
    if missing:
        await _create_indexes(home, name, missing)
        changes += [Change(name, f"index {index.name}", "created") for index in missing]
    for duration in durations(wanted, found):
        if duration.index is None:
            await expiry.remember_expired(database, duration.found_s)
        await _command(home, duration.command())
        changes.append(Change(name, duration.what, f"kept {in_days(duration.wanted_s)}"))
    return changes


async def _create(home: AsyncDatabase[Document], wanted: Wanted) -> bool:
    """True when this call made the collection, False when somebody else just did."""
    options = validation(wanted)
    if wanted.time_series:
        options = {"timeseries": wanted.time_series, **_TIME_SERIES_STORAGE}
    try:
        await _command(home, {"create": wanted.collection, **options})
    except Fatal as error:
        if _code(error) == _NAMESPACE_EXISTS:
            return False
        raise
    return True


async def _create_indexes(home: AsyncDatabase[Document], name: str, indexes: Iterable[Index]) -> None:
    """Create the indexes; the server ignores those that exist just so."""
    specifications = [index.specification() for index in indexes]
    try:
        await _command(home, {"createIndexes": name, "indexes": specifications})
    except DuplicateKeyError as error:
        pattern = dict((error.details or {}).get("keyPattern", {}))
        raise SchemaMismatch(f"{name}: stored documents break the unique index on {pattern}") from error
    except Fatal as error:
        if _code(error) in _INDEX_IN_THE_WAY:
            raise SchemaMismatch(f"{name}: an index is in the way: {error}") from error
        raise


async def _command(home: AsyncDatabase[Document], command: Document) -> None:
    with translated():
        await home.command({**command, "writeConcern": WRITE_CONCERN.document})


async def _look(database: Database, external: Set[str]) -> dict[str, Found]:
    """The present state of every collection that is ours."""
    names = [wanted.collection for wanted in _ours(database, external)]
    return dict(zip(names, await asyncio.gather(*(_look_at(database, name) for name in names)), strict=True))


async def _look_at(database: Database, name: str) -> Found:
    with translated():
        listed = await driver.list_collections(database.home(name), name)
        if not listed:
            return Found(options=None)
        indexes = await driver.list_indexes(database.collection(name))
    return Found(options=listed[0].get("options", {}), indexes=tuple(indexes))


def _ours(database: Database, external: Set[str], retention: RetentionSettings = USUAL) -> list[Wanted]:
    """How the collections should be that nobody else looks after."""
    return [
        wanted for wanted in wanted_of(database.catalogue, retention) if wanted.collection not in external
    ]


def _sentence(difference: Difference) -> str:
    place = f"{difference.collection}, {difference.what}"
    return f"{place}: expected {difference.expected}, found {difference.found}"


def _code(error: Fatal) -> int | None:
    cause = error.__cause__
    return cause.code if isinstance(cause, OperationFailure) else None
