"""Who holds which leases, for people: groups of slots and single pieces of work by process, partitions by topic."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.storage import reading
from worker.storage.database import Database, Document


@dataclass(frozen=True, slots=True)
class GroupsHeld:
    """The groups of one watcher: how many there are, and how many of them each process holds by the server's time."""

    watcher: str
    groups: int
    held_by: Mapping[str, int]

    @property
    def nobodys(self) -> int:
        """Groups that nobody holds at this moment."""
        return self.groups - sum(self.held_by.values())


@dataclass(frozen=True, slots=True)
class JobHeld:
    """A job's lease that somebody holds."""

    lock: str
    who: str
    run: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class PartitionsHeld:
    """The leases of a topic's partitions, and how many records their group has read that the store does not hold."""

    topic: str
    partitions: int
    missing: int


@dataclass(frozen=True, slots=True)
class HeldLeases:
    """All of them."""

    groups: Sequence[GroupsHeld] = ()
    jobs: Sequence[JobHeld] = ()
    partitions: Sequence[PartitionsHeld] = ()

    def of(self, process: str) -> list[str]:
        """What a process holds: `progress 8`, `retry`."""
        held = [(each, each.held_by.get(process, 0)) for each in self.groups]
        return [
            each.watcher if each.groups == 1 else f"{each.watcher} {number}"
            for each, number in held
            if number
        ]


def process_in(owner: str) -> str:
    """The process an owner of leases belongs to, as `host:pid`: each of its roles has a name of its own behind it."""
    return owner.rpartition(":")[0] or owner


async def held_leases(database: Database) -> HeldLeases:
    """As they stand, by the server's time."""
    pipeline: list[Document] = [
        {"$match": {"kind": {"$in": ["group", "job", "partition"]}}},
        {"$set": {"live": {"$gt": ["$expires_at", "$$NOW"]}}},
        {"$project": {"burned": 0, "session": 0, "repairer": 0, "durable_session": 0}},
    ]
    found = await reading.aggregate(database.leases, pipeline)
    return summed(found.documents)


def summed(rows: Iterable[Mapping[str, Any]]) -> HeldLeases:
    """What the documents say together; one that makes no sense is passed over, `verify` names it."""
    groups: defaultdict[str, int] = defaultdict(int)
    held: defaultdict[str, Counter[str]] = defaultdict(Counter)
    jobs: list[JobHeld] = []
    partitions: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    for row in rows:
        name, owner, lives = str(row["_id"]), row.get("owner"), bool(row.get("live"))
        match row.get("kind"):
            case "group":
                watcher = name.partition(":")[0]
                groups[watcher] += 1
                if lives and isinstance(owner, str):
                    held[watcher][process_in(owner)] += 1
            case "job" if lives and owner is not None:
                since = row.get("since")
                jobs.append(
                    JobHeld(
                        name.partition(":")[2],
                        str(row.get("who") or ""),
                        str(row.get("run") or ""),
                        since if isinstance(since, datetime) else None,
                    )
                )
            case "partition":
                topic = name.removeprefix("partition:").rpartition(":")[0]
                partitions[topic] += 1
                missing[topic] += sum(map(_size, row.get("missing") or ()))
    return HeldLeases(
        [GroupsHeld(watcher, number, dict(held[watcher])) for watcher, number in sorted(groups.items())],
        jobs,
        [PartitionsHeld(topic, number, missing[topic]) for topic, number in sorted(partitions.items())],
    )


def _size(gap: Mapping[str, Any]) -> int:
    first, last = gap.get("first_offset"), gap.get("last_offset")
    return last - first + 1 if isinstance(first, int) and isinstance(last, int) else 0
