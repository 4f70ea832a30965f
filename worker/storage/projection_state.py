"""What projections remember between runs: how far each group has come, and on what counting transactions meet.

`projection_state` has a document of one kind for each: `position` (a group's resume token), `session` (whose
transactions count), `marker` (a course or user on which transactions meet) and `migration`. The version before kept
them in `watch_positions`, all behind one field named `token`. While a worker of that version lives, markers and
session stay there, so that transactions of both versions conflict on the same documents; then one transaction moves
everything. See docs/decisions/2026-11-28-projection-state.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from bson import ObjectId
from pymongo import ReplaceOne, ReturnDocument, UpdateOne

from worker.storage import reading
from worker.storage.database import WRITE_CONCERN, Collection, Database, Document
from worker.storage.errors import translated
from worker.storage.leases import Token, group_name
from worker.storage.models import LEASES_OF_NOW
from worker.storage.transactions import Session, Transactions
from worker.storage.validators import STRICT, validator

SESSION = "counts:session"
"""`_id` of the document that names the session whose transactions count."""

_MIGRATION = "migration"
_BEFORE, _NOW = "watch_positions", "projection_state"
# The server ends a transaction after a minute: of a worker that was silent for longer none is open any more.
_SILENT_MS = 60_000
# For whoever looks; afterwards nobody reads the documents of the version before, and nobody could use them.
_KEEP_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Position:
    """A saved token, and the versions of the projections whose documents are current up to it."""

    token: Token | None
    versions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Positions:
    """Where each group's change stream goes on, saved by a worker that keeps projections of these `versions`.

    A position carries the epoch of the lease it was taken under: a worker that lost the lease saves nothing. Token
    and versions are one write: a token by another version says nothing about documents of this one.
    """

    database: Database
    watcher: str
    versions: Mapping[str, int]

    async def take(self, held: Mapping[int, int]) -> dict[int, Position]:
        """Fence former owners out and return the positions; a group somebody newer holds is left out."""
        names = {group_name(self.watcher, group): group for group in held}
        with translated():
            before = await self._saved_before(list(names))
            await self.database.projection_state.bulk_write(
                [
                    UpdateOne({"_id": name}, [{"$set": _taken(held[group], before.get(name))}], upsert=True)
                    for name, group in names.items()
                ],
                ordered=False,
            )
            rows = await self.database.projection_state.find({"_id": {"$in": list(names)}}).to_list(None)
        return {
            names[row["_id"]]: Position(row["token"], row["versions"])
            for row in rows
            if row["epoch"] == held[names[row["_id"]]]
        }

    async def save(self, held: Mapping[int, int], token: Token) -> int:
        """Set the position of the held groups; returns how many were refused for a newer epoch.

        It says that everything up to `token` is folded by these versions, by newer ones, or quarantined.
        """
        if not held:
            return 0
        position = {"token": dict(token), "versions": dict(self.versions)}
        ours = [{"_id": group_name(self.watcher, group), "epoch": epoch} for group, epoch in held.items()]
        with translated():
            result = await self.database.projection_state.update_many(
                {"$or": ours}, {"$set": position, "$currentDate": {"saved_at": True}}
            )
        return len(held) - result.matched_count

    async def _saved_before(self, names: Sequence[str]) -> dict[str, Document]:
        """The positions of the version before, while one of its workers may have held a group last."""
        if not await is_migrating(self.database):
            return {}
        rows = await reading.find(self.database.watch_positions, {"_id": {"$in": list(names)}})
        return {row["_id"]: row for row in rows.documents if _is_position(row)}


@dataclass(frozen=True, slots=True)
class Place:
    """Where markers and session stand, and how they are spelt there."""

    collection: Collection
    instructor_path: str
    """Where a marker names the instructor a course is counted for."""
    session_path: str
    """Where the session is named whose transactions count."""
    counter: str
    """What every write raises: a write that changes nothing would meet nobody."""
    has_kinds: bool = True

    def naming(self, path: str, identity: Any) -> Document:
        """The field that names an instructor or a session, or nobody: the whole `token` in the version before."""
        field, _, inner = path.partition(".")
        return {field: {inner: identity} if inner and identity is not None else identity}

    def first(self, kind: str) -> Document:
        """The fields of a new document."""
        return {"kind": kind} if self.has_kinds else {}

    def value(self, row: Mapping[str, Any], path: str) -> Any:
        """What stands there; None where nothing does."""
        value: Any = row
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value


class Places:
    """Finds where markers and session stand; asked again until everything has moved, which it does once."""

    def __init__(self, database: Database) -> None:
        self._state = database.projection_state
        self._now = Place(database.projection_state, "instructor_id", "session", "writes")
        self._before = Place(
            database.watch_positions, "token.instructor_id", "token.lsid", "epoch", has_kinds=False
        )
        self._moved = False

    async def find(self, session: Session | None = None) -> Place:
        """The place, as the transaction's snapshot has it; or as it is now."""
        if self._moved:
            return self._now
        self._moved = await _markers_in(self._state, session) == _NOW
        return self._now if self._moved else self._before

    async def hold(self, place: Place, session: Session) -> None:
        """Let this transaction not commit beside the one that moves the markers it has written."""
        if place is self._before:
            with translated():
                await self._state.update_one({"_id": _MIGRATION}, _touched(), session=session)


async def is_migrating(database: Database) -> bool:
    """True while documents of the version before are in use."""
    return await _markers_in(database.projection_state) == _BEFORE


async def _markers_in(state: Collection, session: Session | None = None) -> str:
    with translated():
        row = await state.find_one({"_id": _MIGRATION}, session=session)
    return _NOW if row is None else str(row["markers_in"])


async def needs_migration(database: Database, *, open_leases: bool) -> bool:
    """True if there are documents of the version before that nobody has taken over yet.

    So are those of one that ran again after everything had moved: `open_leases` says that `leases` let it.
    """
    with translated():
        migration = await database.projection_state.find_one({"_id": _MIGRATION})
        if migration is None:
            return await database.watch_positions.find_one({}) is not None
        return open_leases and await _ran_again(database, migration)


async def begin_migration(database: Database) -> None:
    """Have new workers use the documents of the version before. May run twice, beside workers of both versions.

    After a roll-back no new worker may run before this: it would look for the markers where they stood.
    """
    begun: Document = {
        "kind": "migration",
        "markers_in": {"$ifNull": ["$markers_in", _BEFORE]},
        "writes": {"$ifNull": ["$writes", 0]},
        "saved_at": {"$ifNull": ["$saved_at", "$$NOW"]},
    }
    state = database.projection_state
    with translated():
        found = await state.find_one_and_update(
            {"_id": _MIGRATION}, [{"$set": begun}], upsert=True, return_document=ReturnDocument.AFTER
        )
        if found is not None and await _ran_again(database, found):
            await state.update_one(
                found, {"$set": {"markers_in": _BEFORE}, "$currentDate": {"saved_at": True}}
            )


async def _ran_again(database: Database, migration: Document) -> bool:
    later = {"saved_at": {"$gt": migration["saved_at"]}}
    return migration["markers_in"] == _NOW and await database.watch_positions.find_one(later) is not None


async def finish_migration(database: Database, *, close_leases: bool = True) -> bool:
    """Move everything, if no worker of the version before lives; True if it is moved. May run twice, anywhere.

    1. look who lives  2. have `leases` refuse members of the version before, if `close_leases`: one that comes back
    ends  3. look again  4. move in one transaction
    """
    if not await is_migrating(database):
        return True
    if await workers_of_before(database):  # 1
        return False
    close = {"collMod": "leases", "validator": validator(LEASES_OF_NOW), **STRICT}
    close |= {"writeConcern": WRITE_CONCERN.document}
    if close_leases:
        with translated():
            await database.config.command(close)  # 2
    if await workers_of_before(database):  # 3
        return False
    transactions = Transactions(database.client)
    try:
        await transactions.run(partial(_move, database))  # 4
    finally:
        await transactions.close()
    return True


async def workers_of_before(database: Database) -> int:
    """How many live members of the leases do not know `projection_state`."""
    silent: Document = {"$subtract": ["$$NOW", _SILENT_MS]}
    live = {"kind": "member", "layout": {"$exists": False}, "$expr": {"$gt": ["$expires_at", silent]}}
    with translated():
        return await database.leases.count_documents(live)


async def forget_the_version_before(database: Database) -> None:
    """Delete its documents, an hour after they moved."""
    old = {"$expr": {"$lt": ["$saved_at", {"$subtract": ["$$NOW", _KEEP_MS]}]}}
    with translated():
        moved = {"_id": _MIGRATION, "markers_in": _NOW, **old}
        if await database.projection_state.find_one(moved) is not None:
            await database.watch_positions.delete_many({})


async def _move(database: Database, session: Session) -> None:
    """In one transaction, which conflicts with every other that writes a marker meanwhile (see `Places.hold`).

    Tokens of the version before are cleared: a worker of it that is started again, after a roll-back, compares
    everything instead of trusting them.
    """
    state, former = database.projection_state, database.watch_positions
    with translated():
        moved = {**_touched(), "$set": {"markers_in": _NOW}}
        done = await state.update_one({"_id": _MIGRATION, "markers_in": _BEFORE}, moved, session=session)
        if not done.matched_count:
            return
        rows = [row for row in (await reading.find(former, {}, session=session)).documents if _is_sound(row)]
        names = [row["_id"] for row in rows if _is_position(row)]
        newer = await state.find({"_id": {"$in": names}}, {"epoch": 1}, session=session).to_list(None)
        epochs = {row["_id"]: row["epoch"] for row in newer}
        documents = [_moved(row) for row in rows if row["epoch"] > epochs.get(row["_id"], -1)]
        writes = [
            ReplaceOne({"_id": each["_id"]}, each, upsert=True) for each in documents if each is not None
        ]
        before_a_roll_back = {"kind": {"$in": ["session", "marker"]}}
        await state.delete_many(before_a_roll_back, session=session)
        if writes:
            await state.bulk_write(writes, session=session)
        await former.update_many({"_id": {"$in": names}}, {"$set": {"token": None}}, session=session)


def _moved(row: Mapping[str, Any]) -> Document | None:
    """A document of the version before as it stands from now on; None for one that says nothing any more."""
    name, token = row["_id"], row["token"]
    same = {"_id": name, "saved_at": row["saved_at"]}
    if _is_position(row):
        versions = _versions(row)
        return {**same, "kind": "position", "token": token, "epoch": row["epoch"], "versions": versions}
    if name == SESSION:
        return {**same, "kind": "session", "session": (token or {}).get("lsid"), "writes": row["epoch"]}
    instructor = (token or {}).get("instructor_id")
    if name.startswith("counts:course:") and isinstance(instructor, ObjectId):
        return {**same, "kind": "marker", "instructor_id": instructor, "writes": row["epoch"]}
    return None


def _is_position(row: Mapping[str, Any]) -> bool:
    return _is_sound(row) and row["_id"].partition(":")[2].isdecimal()


def _is_sound(row: Mapping[str, Any]) -> bool:
    """Somebody else may have written to it: what makes no sense is left behind, and compared or summed anew."""
    types = {"_id": str, "token": dict | None, "epoch": int, "saved_at": datetime}
    return all(isinstance(row.get(name), kind) for name, kind in types.items())


def _versions(row: Mapping[str, Any]) -> Document:
    version = row.get("version")
    return {} if version is None else {row["_id"].partition(":")[0]: version}


def _touched() -> Document:
    return {"$inc": {"writes": 1}, "$currentDate": {"saved_at": True}}


def _taken(epoch: int, before: Mapping[str, Any] | None) -> Document:
    """A position under a new epoch; where the version before had the group last, with what that one saved."""
    token: Any = {"$ifNull": ["$token", None]}
    versions: Any = {"$ifNull": ["$versions", {"$literal": {}}]}
    if before is not None:
        later = {"$gt": [before["epoch"], {"$ifNull": ["$epoch", -1]}]}
        token = {"$cond": [later, {"$literal": before["token"]}, token]}
        versions = {"$cond": [later, {"$literal": _versions(before)}, versions]}
    return {
        "kind": "position",
        "epoch": {"$max": ["$epoch", epoch]},
        "token": token,
        "versions": versions,
        "saved_at": {"$ifNull": ["$saved_at", "$$NOW"]},
    }
