"""What the worker's user of MongoDB must be allowed to do, and for what: findings about privileges share this."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from worker.operate.doctor.finding import Seen
from worker.storage.database import FORMER, Database, collections_of
from worker.storage.past_validators import BYPASS
from worker.storage.privileges import Privileges

# The platform alone uses these; the worker only looks at their indexes.
_PLATFORMS = frozenset({"promotions", "cache"})
# Documents of the platform in which the worker shows statistics.
_SHOWN_IN = frozenset({"courses", "users"})
_WRITES = ("find", "insert", "update", "remove")
_SCHEMA = ("createCollection", "createIndex", "collMod")


@dataclass(frozen=True, slots=True)
class Need:
    """One action on one collection of a database; without a collection, on the database itself."""

    action: str
    home: str
    collection: str = ""


def to_run(database: Database, external: frozenset[str]) -> Iterator[Need]:
    """Without these a role ends."""
    for home in _homes(database):
        yield Need("listCollections", home)
    # The sources of sums and read models are followed as a whole database, which takes both rights on all of it.
    for action in ("changeStream", "find"):
        yield Need(action, database.content.name)
    for name in collections_of(database.catalogue):
        home = database.home(name).name
        if name not in external | FORMER:
            yield Need("listIndexes", home, name)
        actions = ("find", "update") if name in _SHOWN_IN else () if name in _PLATFORMS else _WRITES
        for action in actions:
            yield Need(action, home, name)


def to_apply_the_schema(database: Database, external: frozenset[str]) -> Iterator[Need]:
    """Without these `schema apply` cannot do its work."""
    for name in _ours(database):
        if name not in external:
            for action in _SCHEMA:
                yield Need(action, database.home(name).name, name)


def worth_having(database: Database, external: frozenset[str]) -> Iterator[Need]:
    """Without these everything works, slower or with less to see."""
    yield Need("find", "local", "oplog.rs")
    for home in _homes(database):
        yield Need("dbStats", home)
        yield Need("find", home, "system.profile")
    for target in database.catalogue.targets:
        if target.collection not in external:
            yield Need(BYPASS, database.home(target.collection).name, target.collection)
    for name in _ours(database):
        yield Need("collStats", database.home(name).name, name)


def lacking(privileges: Privileges, needs: Iterator[Need], whole: Mapping[str, int]) -> Sequence[Seen]:
    """A case for each action and database: which collections it is not allowed on.

    `whole` is how many collections each database has: where it is all of them, the database is named.
    """
    missing: dict[tuple[str, str], list[str]] = {}
    for need in needs:
        if not privileges.allows(need.action, need.home, need.collection):
            missing.setdefault((need.home, need.action), []).append(need.collection)
    return [
        Seen(home, f"{action} is not allowed on {_named(names, whole.get(home, 0))}")
        for (home, action), names in sorted(missing.items())
    ]


def sizes(database: Database) -> Mapping[str, int]:
    """How many collections of ours each database has."""
    found: dict[str, int] = {}
    for name in _ours(database):
        home = database.home(name).name
        found[home] = found.get(home, 0) + 1
    return found


def _named(collections: Sequence[str], whole: int) -> str:
    named = sorted(name for name in collections if name)
    if not named:
        return "the database"
    return "any of its collections" if len(named) >= whole > 1 else ", ".join(named)


def _homes(database: Database) -> Sequence[str]:
    return [database.content.name, database.analytics.name, database.config.name]


def _ours(database: Database) -> Sequence[str]:
    return [name for name in collections_of(database.catalogue) if name not in FORMER]
