"""Group leases: the live workers of one watcher share its 16 slot groups; a lease saves work, it decides nothing.

Correctness rests on `rev` and `version`, so a late or lost lease only means that two workers do the same work.
Every comparison with time is made by the server (`$$NOW`): the clocks of the workers do not matter. Each claim
raises the lease's epoch, and a position is saved only under the epoch that stands in it.

Who should hold how many is decided in `shares`. Whether a member has proved itself is recorded in its document by the
server's time: it held a group for the time of a lease and lives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from worker.contract.identity import SLOTS
from worker.storage import driver, lease_documents
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.lease_documents import NEVER
from worker.storage.shares import GROUPS, GroupLease, Survey, decide
from worker.storage.updating import in_s

_SLOTS_PER_GROUP = SLOTS // GROUPS

# Three renewals of about 3 s fit in, so that one slow answer costs no lease.
LEASE_S = 10.0
# A member that was silent for this long is not slow: its document is litter. Until then it tells how it ended.
_FORGET_MEMBER_S = 600.0
# Times of a lease: for how long a member lives before it gets a group to prove itself with, twice as long for every
# member that died unproved (32 times at most, five minutes); and for how long it then holds it.
_WAITS_FOR_A_TRIAL = 1
_LONGEST_DOUBLING = 5
_PROVES_ITSELF_IN = 1
# A free group that nobody claimed for this part of a lease is anybody's: everyone who should have it had a turn.
_OVERDUE_AFTER = 0.6

Token = Mapping[str, Any]

LAYOUT = 1
"""What a member knows of `projection_state`; one of the version before says nothing of it."""


def group_slots(group: int) -> range:
    """The slots of a group: equal, contiguous shares."""
    return range(group * _SLOTS_PER_GROUP, (group + 1) * _SLOTS_PER_GROUP)


def slot_group(slot: int) -> int:
    return slot // _SLOTS_PER_GROUP


def group_name(watcher: str, group: int) -> str:
    """`_id` of a group's lease and of its position, and its label in the metrics."""
    return f"{watcher}:{group:02}"


@dataclass(slots=True, eq=False)
class GroupLeases:
    """The leases one worker holds. `owner` must be unique to this run of the process.

    `version` is that of the projection it folds by; where there is none, all are alike. Work that is not divided
    has one group: one of the live workers holds it. Call `balance` every few seconds, well within `lease_s`.
    """

    database: Database
    owner: str
    _: KW_ONLY
    watcher: str = "progress"
    lease_s: float = LEASE_S
    groups: int = GROUPS
    version: int = 0
    _held: dict[int, int] = field(default_factory=dict, init=False)
    _prepared: bool = field(default=False, init=False)

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
            surplus, claims = decide(survey, self.owner, self.groups)  # 4
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
            await self.database.leases.update_one(
                {"_id": self._member_id}, [{"$set": self._membership}], upsert=True
            )

    async def leave(self) -> None:
        """Give everything back, so that others need not wait for the leases to expire. May run twice."""
        with translated():
            await self._release(self._held)
            self._held = {}
            await self.database.leases.delete_one({"_id": self._member_id})

    @property
    def _member_id(self) -> str:
        return f"member:{self.watcher}:{self.owner}"

    @property
    def _membership(self) -> Document:
        """As expressions over what this worker announced last; one that was silent for too long begins anew."""
        lapsed = {"$lte": [{"$ifNull": ["$expires_at", NEVER]}, "$$NOW"]}
        began = {"$cond": [lapsed, "$$NOW", {"$ifNull": ["$since", "$$NOW"]}]}
        holds = {"$cond": [lapsed, "$$NOW", {"$ifNull": ["$holds_since", "$$NOW"]}]} if self._held else None
        held_ms = {"$subtract": ["$$NOW", {"$ifNull": ["$holds_since", "$$NOW"]}]}
        proves = {"$gte": [held_ms, self.lease_s * 1000 * _PROVES_ITSELF_IN]}
        return {
            "kind": "member",
            "owner": {"$literal": self.owner},
            "version": self.version,
            "layout": LAYOUT,
            "since": began,
            "holds_since": holds,
            "proved": {"$and": [{"$not": lapsed}, {"$or": [{"$ifNull": ["$proved", False]}, proves]}]},
            "expires_at": in_s(self.lease_s),
        }

    async def _prepare(self) -> None:
        if not self._prepared:
            names = [group_name(self.watcher, group) for group in range(self.groups)]
            await lease_documents.prepare(self.database.leases, names, {"kind": "group"})
            self._prepared = True

    async def _renew(self) -> None:
        await lease_documents.renew(self.database.leases, self._named(self._held), self.owner, self.lease_s)

    async def _survey(self) -> Survey:
        overdue_s = self.lease_s * _OVERDUE_AFTER
        seen: Document = {
            **dict.fromkeys(("kind", "owner", "epoch", "version"), 1),
            # An older release's worker says nothing of it: it counts as before.
            "proved": {"$ifNull": ["$proved", True]},
            "age_ms": {"$subtract": ["$$NOW", {"$ifNull": ["$since", "$$NOW"]}]},
            "live": {"$gt": ["$expires_at", "$$NOW"]},
            "overdue": {"$lt": ["$expires_at", in_s(-overdue_s)]},
            "litter": {"$lt": ["$expires_at", in_s(-_FORGET_MEMBER_S)]},
        }
        ours = {"_id": {"$regex": f"^(member:)?{self.watcher}:"}}
        rows = await driver.aggregate(
            self.database.leases, [{"$match": ours}, {"$sort": {"_id": 1}}, {"$project": seen}]
        )
        members = [row for row in rows if row["kind"] == "member"]
        litter = [row["_id"] for row in members if row["litter"]]
        if litter:
            silent = {"$expr": {"$lt": ["$expires_at", "$$NOW"]}}
            await self.database.leases.delete_many({"_id": {"$in": litter}, **silent})
        live = [row for row in members if row["live"]]
        return Survey(
            leases=[_lease(row) for row in rows if row["kind"] == "group"],
            members=frozenset(row["owner"] for row in live),
            versions={row["owner"]: row.get("version", 0) for row in live},
            unproved=frozenset(row["owner"] for row in live if not row["proved"]),
            ready=self._ready(members),
        )

    def _ready(self, members: Sequence[Document]) -> frozenset[str]:
        """Live members that have lived for long enough to be given a group, after what happened to others."""
        died = sum(not row["live"] and not row["proved"] for row in members)
        waits_ms = self.lease_s * 1000 * _WAITS_FOR_A_TRIAL * 2 ** min(died, _LONGEST_DOUBLING)
        return frozenset(row["owner"] for row in members if row["live"] and row["age_ms"] >= waits_ms)

    async def _claim(self, group: int) -> int | None:
        """The new epoch, or None where another worker was faster."""
        name = group_name(self.watcher, group)
        return await lease_documents.claim(self.database.leases, name, self.owner, self.lease_s)

    async def _release(self, groups: Mapping[int, int]) -> None:
        await lease_documents.release(self.database.leases, self._named(groups), self.owner)

    def _named(self, groups: Mapping[int, int]) -> dict[str, int]:
        return {group_name(self.watcher, group): epoch for group, epoch in groups.items()}


def _lease(row: Document) -> GroupLease:
    group = int(row["_id"].rpartition(":")[2])
    return GroupLease(group, row["owner"], row["epoch"], row["live"], row["overdue"])
