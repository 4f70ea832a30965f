"""A lease as a document: claimed by the server's time, its epoch raised by each claim, and renewed under that epoch.

What a lease is about, and who should have it, is decided elsewhere: `leases` shares groups, `job_leases` runs jobs.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import cast

from pymongo import ReturnDocument, UpdateOne

from worker.storage.database import Collection, Document
from worker.storage.updating import in_s

NEVER = datetime(1970, 1, 1, tzinfo=UTC)


async def prepare(leases: Collection, names: Iterable[str], unclaimed: Document) -> None:
    """Make documents that are not there yet: a claim compares with time, which an upsert cannot. May run twice."""
    nobodys = {"owner": None, "epoch": 0, "expires_at": NEVER, **unclaimed}
    await leases.bulk_write(
        [UpdateOne({"_id": name}, {"$setOnInsert": nobodys}, upsert=True) for name in names], ordered=False
    )


async def claim(
    leases: Collection, name: str, owner: str, lease_s: float, *, above: int = 0, also: Document | None = None
) -> int | None:
    """The new epoch, which is above `above`, or None where another owner's lease has not run out.

    `also` are expressions for further fields.
    """
    free = [{"owner": owner}, {"$expr": {"$lte": ["$expires_at", "$$NOW"]}}]
    taken = {
        "owner": {"$literal": owner},
        "epoch": {"$add": [{"$max": ["$epoch", above]}, 1]},
        "expires_at": in_s(lease_s),
        **(also or {}),
    }
    claimed = await leases.find_one_and_update(
        {"_id": name, "$or": free}, [{"$set": taken}], return_document=ReturnDocument.AFTER
    )
    return None if claimed is None else cast(int, claimed["epoch"])


async def renew(leases: Collection, held: Mapping[str, int], owner: str, lease_s: float) -> int:
    """Extend what nobody took meanwhile, expired or not; returns how many of the held ones those are."""
    if not held:
        return 0
    renewed = await leases.update_many(_ours(held, owner), [{"$set": {"expires_at": in_s(lease_s)}}])
    return renewed.matched_count


async def release(leases: Collection, held: Mapping[str, int], owner: str) -> None:
    """Give back what is still held: nobody has to wait for its end. May run twice."""
    if held:
        await leases.update_many(_ours(held, owner), [{"$set": {"owner": None, "expires_at": "$$NOW"}}])


def _ours(held: Mapping[str, int], owner: str) -> Document:
    return {"owner": owner, "$or": [{"_id": name, "epoch": epoch} for name, epoch in held.items()]}
