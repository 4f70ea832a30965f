"""Who may write a partition's time-series rows: one lease per partition, taken by burning the session before it."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pymongo.errors import DuplicateKeyError

from worker.errors import Fenced, Retryable
from worker.storage.database import Database
from worker.storage.errors import translated
from worker.storage.fenced import burn_session
from worker.timing import Clock, Deadline

# Sessions that were burned and are burned again from time to time: of so many owners before, one may be frozen.
_BURNED_KEPT = 20


@dataclass(frozen=True, slots=True)
class PartitionLease:
    """The right to write rows of one partition under `session`, until somebody burns it.

    `burned` are sessions of the owners before, newest last: the server forgets a burn after 30 minutes of silence.
    """

    topic: str
    partition: int
    session: UUID
    burned: tuple[UUID, ...] = ()


def lease_id(topic: str, partition: int) -> str:
    return f"partition:{topic}:{partition}"


async def sessions_in_force(database: Database, partitions: Iterable[tuple[str, int]]) -> set[UUID]:
    """The sessions under which the partitions' rows may be written now."""
    keys = [lease_id(topic, partition) for topic, partition in partitions]
    with translated():
        rows = await database.leases.find({"_id": {"$in": keys}}, {"session": 1}).to_list(None)
    return {row["session"] for row in rows}


async def _nobody_is_newer(_session: UUID) -> None:
    """For who takes a partition that nobody else can own."""


async def take_partition(
    database: Database,
    topic: str,
    partition: int,
    session: UUID,
    *,
    clock: Clock,
    deadline_s: float,
    may_burn: Callable[[UUID], Awaitable[None]] = _nobody_is_newer,
) -> PartitionLease:
    """Take the partition's lease for `session`, a fresh random id; returns when no older owner can write any more.

    1. read the session in force  2. ask `may_burn`, which raises where we own the partition no more, and burn it
    3. put ours in its place if it is still the one that was burned, else start again. Safe to repeat: finding our
    own session in force means an earlier try succeeded.

    Whoever is late burns nobody newer: a session that was read before we were proved to be the owner is that of a
    predecessor, however long the burn takes from there. Raises Retryable when MongoDB gives no answer.
    """
    key = lease_id(topic, partition)
    while True:
        with translated():
            current = await database.leases.find_one({"_id": key})  # 1
        if current is None:
            await _create(database, key, session, clock)
            continue
        if current["session"] == session:
            return PartitionLease(topic, partition, session, tuple(current.get("burned", ())))
        await may_burn(current["session"])  # 2
        await burn_session(database.leases, key, current["session"], deadline_s=deadline_s)
        with translated():
            await database.leases.update_one(  # 3
                {"_id": key, "session": current["session"]},
                {
                    "$set": {"session": session, "updated_at": clock.now()},
                    "$push": {"burned": {"$each": [current["session"]], "$slice": -_BURNED_KEPT}},
                },
            )


async def burn_again(database: Database, lease: PartitionLease, clock: Clock, *, deadline_s: float) -> None:
    """Remind the server that the owners before may not write; to be repeated well within 30 minutes.

    A command that was frozen between its last check and the socket comes whenever its process goes on: hours later
    the server would take it for a new one. Raises Retryable when MongoDB gives no answer, or answers so slowly that
    the owners would take longer than `deadline_s` together: the caller has other things to do, and comes again.
    """
    key = lease_id(lease.topic, lease.partition)
    deadline = Deadline.after(clock, deadline_s)
    for done, session in enumerate(reversed(lease.burned)):
        if deadline.passed:
            raise Retryable(
                f"{done} of {len(lease.burned)} owners before were burned again in {deadline_s:g} s"
            )
        await burn_session(database.leases, key, session, deadline_s=deadline_s)


async def assert_in_force(database: Database, lease: PartitionLease, now: datetime) -> None:
    """Raise Fenced when somebody else has taken the partition since, Retryable when MongoDB gives no answer.

    This is a write: when it returns, all that its primary had written before is on a majority, too.
    """
    with translated():
        result = await database.leases.update_one(
            {"_id": lease_id(lease.topic, lease.partition), "session": lease.session},
            {"$set": {"updated_at": now}},
        )
    if result.matched_count == 0:
        raise Fenced(f"partition {lease.partition} of {lease.topic} has another owner")


async def _create(database: Database, key: str, session: UUID, clock: Clock) -> None:
    """The partition's first lease. Keyed by `_id`: of two creators one wins, the other reads and burns it."""
    lease = {"_id": key, "kind": "partition", "session": session, "burns": 0, "updated_at": clock.now()}
    with suppress(DuplicateKeyError), translated():
        await database.leases.insert_one(lease)
