"""The lease of a job: one process at a time runs what must not run twice, and everyone else is told who does.

The document in `leases` is claimed, renewed and given back by the server's time. Whoever claims it gets a higher
epoch, under which the run's document is then saved (`job_runs`): a former owner saves nothing more.
"""

from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from worker.storage import lease_documents, reading
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.job_models import JobLease

JOB_LEASES = "job:"
"""How the `_id` of every such lease begins."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease: since when, for which run, and when it ends unless it is renewed."""

    owner: str
    who: str
    run: str
    epoch: int
    since: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease under which everything named by `lock` is run. `owner` is unique to this attempt."""

    database: Database
    lock: str
    owner: str
    lease_s: float

    async def claim(self, who: str, run: str, above: int) -> int | None:
        """The new epoch, which is above `above`; None while another owner holds it. May run twice."""
        with translated():
            nobodys = {"kind": "job", "who": None, "run": None, "since": lease_documents.NEVER}
            await lease_documents.prepare(self.database.leases, [self.name], nobodys)
            also = {"who": {"$literal": who}, "run": {"$literal": run}, "since": "$$NOW"}
            return await lease_documents.claim(
                self.database.leases, self.name, self.owner, self.lease_s, above=above, also=also
            )

    async def renew(self, epoch: int) -> bool:
        """Extend it, expired or not; False once another owner has claimed it."""
        with translated():
            held = {self.name: epoch}
            return await lease_documents.renew(self.database.leases, held, self.owner, self.lease_s) == 1

    async def release(self, epoch: int) -> None:
        """Give it back, if it is still held. May run twice."""
        with translated():
            await lease_documents.release(self.database.leases, {self.name: epoch}, self.owner)

    async def holder(self) -> Holder | None:
        """Who holds it by the server's time; None where nobody does."""
        return (await holders(self.database, [self.lock])).get(self.lock)

    @property
    def name(self) -> str:
        """`_id` of its document."""
        return f"{JOB_LEASES}{self.lock}"


async def holders(database: Database, locks: list[str]) -> dict[str, Holder]:
    """Who holds these leases by the server's time, by lock; nobody where there is none."""
    held = {
        "_id": {"$in": [f"{JOB_LEASES}{lock}" for lock in locks]},
        "kind": "job",
        "$expr": {"$gt": ["$expires_at", "$$NOW"]},
    }
    found = await reading.find(database.leases, held)
    return {
        row["_id"].removeprefix(JOB_LEASES): holder for row in found.documents if (holder := _holder(row))
    }


def _holder(row: Document) -> Holder | None:
    """Who a lease says; None for one that makes no sense."""
    try:
        lease = JobLease.model_validate(row)
    except ValidationError:
        return None
    return Holder(
        lease.owner or "", lease.who or "", lease.run or "", lease.epoch, lease.since, lease.expires_at
    )
