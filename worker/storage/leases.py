"""Group leases: the live workers of one watcher share its 16 slot groups; a lease saves work, it decides nothing.

Correctness rests on `rev` and `version`, so a late or lost lease only means that two workers do the same work.
Every comparison with time is made by the server (`$$NOW`): the clocks of the workers do not matter. Each claim
raises the lease's epoch, and a position is saved only under the epoch that stands in it.

While two versions of a projection run side by side, groups only move from older workers to newer ones: an older one
cannot move a document that a newer one has written, which would then stand still until the group came back.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from pymongo import ReturnDocument, UpdateOne

from worker.contract.identity import SLOTS
from worker.storage import driver
from worker.storage.database import Database, Document
from worker.storage.errors import translated

GROUPS = 16
_SLOTS_PER_GROUP = SLOTS // GROUPS

# Three renewals of about 3 s fit in, so that one slow answer costs no lease.
LEASE_S = 10.0
# A member that was silent for this long is not slow: its document is litter.
_FORGET_MEMBER_MS = 600_000
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)

Token = Mapping[str, Any]


def group_slots(group: int) -> range:
    """The slots of a group: equal, contiguous shares."""
    return range(group * _SLOTS_PER_GROUP, (group + 1) * _SLOTS_PER_GROUP)


def slot_group(slot: int) -> int:
    return slot // _SLOTS_PER_GROUP


def group_name(watcher: str, group: int) -> str:
    """`_id` of a group's lease and of its position, and its label in the metrics."""
    return f"{watcher}:{group:02}"


@dataclass(frozen=True, slots=True)
class GroupLease:
    """One group's lease as the server saw it; `live` by the server's time."""

    group: int
    owner: str | None
    epoch: int
    live: bool


@dataclass(frozen=True, slots=True)
class Survey:
    """All leases of one watcher and its live members at one moment, with the versions they fold by."""

    leases: Sequence[GroupLease]
    members: frozenset[str]
    versions: Mapping[str, int] = field(default_factory=dict)

    def newest(self, owner: str) -> frozenset[str]:
        """`owner` and those of its version, if no live member is of a newer one; else none."""
        own = self.versions.get(owner, 0)
        if any(self.versions.get(member, 0) > own for member in self.members):
            return frozenset()
        return frozenset(each for each in {*self.members, owner} if self.versions.get(each, 0) == own)

    def held_by_others_than(self, owners: frozenset[str]) -> int:
        """How many groups live members outside `owners` hold."""
        others = self.members - owners
        return sum(lease.live and lease.owner in others for lease in self.leases)

    def held_by(self, owner: str) -> dict[int, int]:
        """Group and epoch of every live lease of `owner`."""
        return {lease.group: lease.epoch for lease in self.leases if lease.live and lease.owner == owner}

    def free(self) -> list[int]:
        return [lease.group for lease in self.leases if not lease.live]


def fair_share(owner: str, members: Iterable[str], groups: int = GROUPS) -> int:
    """How many groups `owner` should hold: shares differ by one at most and add up to `groups`."""
    ranked = sorted({*members, owner})
    share, remainder = divmod(groups, len(ranked))
    return share + (1 if ranked.index(owner) < remainder else 0)


def decide(survey: Survey, owner: str, groups: int = GROUPS) -> tuple[list[int], list[int]]:
    """Groups to release and groups to claim now: at most one is released a round, so that none flaps.

    Nobody gives up a last group: where there are more workers than groups, some hold one and some none. While
    a newer version runs, an older one claims nothing and gives up what is above its share of the whole fleet;
    the newest share among themselves whatever the older ones do not hold.
    """
    held = survey.held_by(owner)
    newest = survey.newest(owner)
    if newest:
        share = max(1, fair_share(owner, newest, groups - survey.held_by_others_than(newest)))
    else:
        share = max(1, fair_share(owner, survey.members, groups))
    if len(held) > share:
        return [max(held)], []
    return [], survey.free()[: share - len(held)] if newest else []


class GroupLeases:
    """The leases one worker holds. `owner` must be unique to this run of the process.

    `version` is that of the projection it folds by; where there is none, all are alike. Work that is not divided
    has one group: one of the live workers holds it. Call `balance` every few seconds, well within `lease_s`.
    """

    def __init__(
        self,
        database: Database,
        owner: str,
        *,
        watcher: str = "progress",
        lease_s: float = LEASE_S,
        groups: int = GROUPS,
        version: int = 0,
    ) -> None:
        self.owner = owner
        self._version = version
        self.watcher = watcher
        self._groups = groups
        self._leases = database.leases
        self._lease_ms = int(lease_s * 1000)
        self._held: dict[int, int] = {}
        self._prepared = False

    @property
    def held(self) -> Mapping[int, int]:
        """Group and epoch of every lease held after the last `balance`; may have expired since."""
        return dict(self._held)

    async def balance(self) -> Mapping[int, int]:
        """One round of sharing; returns what is held now. May run at any time and any number of times.

        1. say that this worker lives  2. renew  3. look  4. release one group too many, or claim up to the share
        """
        with translated():
            await self._prepare()
            await self.announce()  # 1
            await self._renew()  # 2
            survey = await self._survey()  # 3
            self._held = survey.held_by(self.owner)
            surplus, claims = decide(survey, self.owner, self._groups)  # 4
            for group in surplus:
                await self._release({group: self._held.pop(group)})
            for group in claims:
                epoch = await self._claim(group)
                if epoch is not None:
                    self._held[group] = epoch
        return self.held

    async def announce(self) -> None:
        """Extend this worker's membership.

        Acknowledged by a majority, it proves that everything stored before it has a majority, too: readers
        use it as a barrier.
        """
        with translated():
            await self._leases.update_one(
                {"_id": self._member_id},
                [{"$set": self._membership}],
                upsert=True,
            )

    async def leave(self) -> None:
        """Give everything back, so that others need not wait for the leases to expire. May run twice."""
        with translated():
            await self._release(self._held)
            self._held = {}
            await self._leases.delete_one({"_id": self._member_id})

    @property
    def _member_id(self) -> str:
        return f"member:{self.watcher}:{self.owner}"

    @property
    def _membership(self) -> Document:
        owner = {"$literal": self.owner}
        return {"kind": "member", "owner": owner, "version": self._version, "expires_at": self._later}

    @property
    def _later(self) -> Document:
        return {"$add": ["$$NOW", self._lease_ms]}

    async def _prepare(self) -> None:
        """One document per group, once: a claim compares with time, which an upsert cannot."""
        if self._prepared:
            return
        unclaimed = {"kind": "group", "owner": None, "epoch": 0, "expires_at": _NEVER}
        names = [group_name(self.watcher, group) for group in range(self._groups)]
        await self._leases.bulk_write(
            [UpdateOne({"_id": name}, {"$setOnInsert": unclaimed}, upsert=True) for name in names],
            ordered=False,
        )
        self._prepared = True

    async def _renew(self) -> None:
        """Extend what nobody took meanwhile, expired or not."""
        if self._held:
            await self._leases.update_many(self._ours(self._held), [{"$set": {"expires_at": self._later}}])

    async def _survey(self) -> Survey:
        rows = await driver.aggregate(
            self._leases,
            [
                {"$match": {"_id": {"$regex": f"^(member:)?{self.watcher}:"}}},
                {"$sort": {"_id": 1}},
                {
                    "$project": {
                        "kind": 1,
                        "owner": 1,
                        "epoch": 1,
                        "version": 1,
                        "live": {"$gt": ["$expires_at", "$$NOW"]},
                        "litter": {"$lt": ["$expires_at", {"$subtract": ["$$NOW", _FORGET_MEMBER_MS]}]},
                    }
                },
            ],
        )
        members = [row for row in rows if row["kind"] == "member"]
        litter = [row["_id"] for row in members if row["litter"]]
        if litter:
            await self._leases.delete_many(
                {"_id": {"$in": litter}, "$expr": {"$lt": ["$expires_at", "$$NOW"]}}
            )
        return Survey(
            leases=[
                GroupLease(int(row["_id"].rpartition(":")[2]), row["owner"], row["epoch"], row["live"])
                for row in rows
                if row["kind"] == "group"
            ],
            members=frozenset(row["owner"] for row in members if row["live"]),
            versions={row["owner"]: row.get("version", 0) for row in members if row["live"]},
        )

    async def _claim(self, group: int) -> int | None:
        """The new epoch, or None where another worker was faster."""
        claimed = await self._leases.find_one_and_update(
            {
                "_id": group_name(self.watcher, group),
                "$or": [{"owner": self.owner}, {"$expr": {"$lte": ["$expires_at", "$$NOW"]}}],
            },
            [
                {
                    "$set": {
                        "owner": {"$literal": self.owner},
                        "epoch": {"$add": ["$epoch", 1]},
                        "expires_at": self._later,
                    }
                }
            ],
            return_document=ReturnDocument.AFTER,
        )
        return None if claimed is None else cast(int, claimed["epoch"])

    async def _release(self, groups: Mapping[int, int]) -> None:
        if groups:
            free = {"owner": None, "expires_at": "$$NOW"}
            await self._leases.update_many(self._ours(groups), [{"$set": free}])

    def _ours(self, groups: Mapping[int, int]) -> Document:
        return {
            "$or": [
                {"_id": group_name(self.watcher, group), "owner": self.owner, "epoch": epoch}
                for group, epoch in groups.items()
            ]
        }


@dataclass(frozen=True, slots=True)
class Position:
    """A saved token, and the version of the projection by whose worker: neither if none was saved yet."""

    token: Token | None
    version: int | None


class Positions:
    """Where each group's change stream goes on, saved by a worker that folds by `version`.

    A position carries the epoch of the lease it was taken under: a worker that lost the lease saves nothing. Token
    and version are one write: a token by another version says nothing about documents of this one.
    """

    def __init__(self, database: Database, *, watcher: str = "progress", version: int = 0) -> None:
        self._positions = database.watch_positions
        self._watcher = watcher
        self._version = version

    async def take(self, held: Mapping[int, int]) -> dict[int, Position]:
        """Fence former owners out and return the positions; a group somebody newer holds is left out."""
        names = {group_name(self._watcher, group): group for group in held}
        with translated():
            await self._positions.bulk_write(
                [
                    UpdateOne({"_id": name}, [{"$set": _fence(held[group])}], upsert=True)
                    for name, group in names.items()
                ],
                ordered=False,
            )
            rows = await self._positions.find({"_id": {"$in": list(names)}}).to_list(None)
        return {
            names[row["_id"]]: Position(row["token"], row.get("version"))
            for row in rows
            if row["epoch"] == held[names[row["_id"]]]
        }

    async def save(self, held: Mapping[int, int], token: Token) -> int:
        """Set the position of the held groups; returns how many were refused for a newer epoch.

        It says that everything up to `token` is folded by this version, by a newer one, or set aside.
        """
        if not held:
            return 0
        position = {"token": dict(token), "version": self._version}
        ours = [{"_id": group_name(self._watcher, group), "epoch": epoch} for group, epoch in held.items()]
        with translated():
            result = await self._positions.update_many(
                {"$or": ours}, {"$set": position, "$currentDate": {"saved_at": True}}
            )
        return len(held) - result.matched_count


def _fence(epoch: int) -> Document:
    return {
        "epoch": {"$max": ["$epoch", epoch]},
        "token": {"$ifNull": ["$token", None]},
        "saved_at": {"$ifNull": ["$saved_at", "$$NOW"]},
    }
