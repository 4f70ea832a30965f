"""How far each partition's records are in the store, kept in its lease: by it a restored backup shows.

`durable` is written before the group is told of an offset, so it is never below what the group has committed. Where
it is found below, MongoDB went back in time (or somebody moved the group): the records in between are `missing`, and
stay so in the lease until they are brought back.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeVar
from uuid import uuid4

from pymongo import UpdateMany
from pymongo.errors import BulkWriteError

from worker.errors import Fenced
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.partition_lease import PartitionLease, lease_id, new_lease

# Topic and partition.
Place = TypeVar("Place", bound=tuple[str, int])


class OffsetRange(NamedTuple):
    """Offsets from the first to the last, both included."""

    first_offset: int
    last_offset: int

    @property
    def records(self) -> int:
        """At most so many records: markers and what compaction removed have offsets, too."""
        return self.last_offset - self.first_offset + 1


@dataclass(frozen=True, slots=True)
class Held:
    """What a lease says of its partition's records: all below `durable` are in the store, but for the `missing`.

    `durable` is None where an owner of a release that does not keep it came last.
    """

    durable: int | None
    missing: tuple[OffsetRange, ...] = ()


class Step(NamedTuple):
    """The durable offset of a partition that its owner raises from `before` to `after`."""

    lease: PartitionLease
    before: int
    after: int


async def read_held(database: Database, places: Iterable[Place]) -> dict[Place, Held]:
    """What the leases of these partitions say; a partition without a lease is missing."""
    by_id = {lease_id(*place): place for place in places}
    with translated():
        found = await database.leases.find({"_id": {"$in": list(by_id)}}).to_list(None)
    return {by_id[lease["_id"]]: _held(lease) for lease in found}


def _held(lease: Document) -> Held:
    ranges = (OffsetRange(each["first_offset"], each["last_offset"]) for each in lease.get("missing", ()))
    durable = lease.get("durable") if lease.get("durable_session") == lease["session"] else None
    return Held(durable, tuple(ranges))


def missing_below(held: Held | None, committed: int) -> list[OffsetRange]:
    """What a store lacks of the records that its group has read, in order.

    Of a partition without a lease it has nothing. A worker notes what it finds when it takes the partition; as long
    as none has, the durable offset of the lease alone tells.
    """
    durable = 0 if held is None else held.durable
    ranges = list(held.missing) if held is not None else []
    if durable is not None and durable < committed:
        ranges.append(OffsetRange(durable, committed - 1))
    return sorted(ranges)


async def make_leases(database: Database, durable: Mapping[Place, int], now: datetime) -> None:
    """Make leases, which nobody owns yet, for partitions that have none, before the group is told where it begins."""
    leases = [new_lease(place[0], place[1], uuid4(), now, durable=at) for place, at in durable.items()]
    if leases:
        with suppress(BulkWriteError), translated():  # those that are there already
            await database.leases.insert_many(leases, ordered=False)


async def begin_at(
    database: Database,
    starts: Mapping[Place, int],
    leases: Mapping[Place, PartitionLease],
    missing: Mapping[Place, OffsetRange],
) -> None:
    """Note where a new owner begins to read, and what it found missing. Raises Fenced where another one came since.

    May run twice: a range that is on record already stays as it is.
    """
    writes = []
    for place, start in starts.items():
        change: Document = {"$set": {"durable": start, "durable_session": leases[place].session}}
        if place in missing:
            change["$addToSet"] = {"missing": missing[place]._asdict()}
        writes.append(UpdateMany({"_id": leases[place].key, "session": leases[place].session}, change))
    await _write(database, writes)


async def advance(database: Database, steps: Sequence[Step]) -> None:
    """Raise the durable offsets, before the group is told of them. May run twice.

    Raises Fenced where the lease is another owner's, or has another offset than we may have left there: MongoDB then
    went back in time under us, and what we remember of the store is worth nothing. What lies between `before` and
    `after` is a step of ours whose answer was lost.
    """
    await _write(
        database,
        [
            UpdateMany(
                {
                    "_id": step.lease.key,
                    "session": step.lease.session,
                    "durable": {"$gte": min(step.before, step.after), "$lte": max(step.before, step.after)},
                },
                {"$set": {"durable": step.after}},
            )
            for step in steps
        ],
    )


async def brought_back(database: Database, place: tuple[str, int], covered: OffsetRange) -> None:
    """Note that all records of this range are in the store: what of it was missing is so no more.

    A lease that nobody has taken since MongoDB went back stands at an older offset, where the range begins: it now
    stands behind it.
    """
    inside = {
        "first_offset": {"$gte": covered.first_offset},
        "last_offset": {"$lte": covered.last_offset},
    }
    behind = {"$gte": covered.first_offset, "$lte": covered.last_offset}
    key = {"_id": lease_id(*place)}
    with translated():
        await database.leases.update_one(key, {"$pull": {"missing": inside}})
        await database.leases.update_one(
            {**key, "durable": behind}, {"$set": {"durable": covered.last_offset + 1}}
        )
        await database.leases.update_one({**key, "missing": []}, {"$unset": {"missing": ""}})


async def _write(database: Database, writes: Sequence[UpdateMany]) -> None:
    # "Many" finds one here. An UpdateOne may be repeated by the driver, for which the server keeps a number of each.
    if not writes:
        return
    with translated():
        result = await database.leases.bulk_write(writes, ordered=False)
    if result.matched_count != len(writes):
        raise Fenced("a partition has another owner, or MongoDB went back in time under this one")
