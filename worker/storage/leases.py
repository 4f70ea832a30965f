"""Group leases: the live workers of one watcher share its 16 slot groups; a lease saves work, it decides nothing.

Correctness rests on `rev` and `version`, so a late or lost lease only means that two workers do the same work.
Every comparison with time is made by the server (`$$NOW`): the clocks of the workers do not matter. Each claim
raises the lease's epoch, and a position is saved only under the epoch that stands in it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
    """All leases of one watcher and its live members at one moment."""

    leases: Sequence[GroupLease]
    members: frozenset[str]

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

    Nobody gives up a last group: where there are more workers than groups, some hold one and some none.
    """
    held = survey.held_by(owner)
    share = max(1, fair_share(owner, survey.members, groups))
    if len(held) > share:
        return [max(held)], []
    return [], survey.free()[: share - len(held)]


class GroupLeases:
    """The leases one worker holds. `owner` must be unique to this run of the process.

    Work that is not divided has one group: one of the live workers holds it. Call `balance` every few seconds,
    well within `lease_s`.
    """

    def __init__(
        self,
        database: Database,
        owner: str,
        *,
        watcher: str = "progress",
        lease_s: float = LEASE_S,
        groups: int = GROUPS,
    ) -> None:
        self.owner = owner
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
                [{"$set": {"kind": "member", "owner": {"$literal": self.owner}, "expires_at": self._later}}],
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


class Positions:
    """Where each group's change stream goes on, and which fold has brought the group's documents up.

    A position carries the epoch of the lease it was taken under: a worker that lost the lease saves nothing.
    """

    def __init__(self, database: Database, *, watcher: str = "progress") -> None:
        self._positions = database.watch_positions
        self._watcher = watcher

    async def take(self, held: Mapping[int, int]) -> dict[int, Token | None]:
        """Fence former owners out and return the saved tokens; a group somebody newer holds is left out."""
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
        return {names[row["_id"]]: row["token"] for row in rows if row["epoch"] == held[names[row["_id"]]]}

    async def save(self, held: Mapping[int, int], token: Token) -> int:
        """Set the position of the held groups; returns how many were refused for a newer epoch."""
        if not held:
            return 0
        ours = [{"_id": group_name(self._watcher, group), "epoch": epoch} for group, epoch in held.items()]
        with translated():
            result = await self._positions.update_many(
                {"$or": ours}, {"$set": {"token": dict(token)}, "$currentDate": {"saved_at": True}}
            )
        return len(held) - result.matched_count

    async def folded_by(self, groups: Iterable[int]) -> dict[int, int]:
        """The projection version all documents of each group were last brought to; absent if never."""
        names = {self._marker(group): group for group in groups}
        with translated():
            rows = await self._positions.find({"_id": {"$in": list(names)}}).to_list(None)
        return {names[row["_id"]]: row["epoch"] for row in rows}

    async def mark_folded_by(self, groups: Iterable[int], projection_version: int) -> None:
        """Record that no document of these groups is older than `projection_version`."""
        marked = {"token": None, "epoch": projection_version, "saved_at": "$$NOW"}
        updates = [
            UpdateOne({"_id": self._marker(group)}, [{"$set": marked}], upsert=True) for group in groups
        ]
        if updates:
            with translated():
                await self._positions.bulk_write(updates, ordered=False)

    def _marker(self, group: int) -> str:
        return f"{group_name(self._watcher, group)}:projection"


def _fence(epoch: int) -> Document:
    return {
        "epoch": {"$max": ["$epoch", epoch]},
        "token": {"$ifNull": ["$token", None]},
        "saved_at": {"$ifNull": ["$saved_at", "$$NOW"]},
    }
