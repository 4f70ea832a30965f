"""Who may write a partition's time-series rows: its owner, and below the committed offset one repairer.

Each has a session in the partition's lease, and takes it by burning the session before.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from pymongo.errors import DuplicateKeyError

from worker.errors import Fenced, Retryable
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.fenced import burn_session
from worker.timing import Clock, Deadline

# Sessions that were burned and are burned again from time to time: of so many owners before, one may be frozen.
_BURNED_KEPT = 20

BURN_AGAIN_EVERY_S = 600.0
"""Twice within the memory of a server with the usual settings, so that one failure costs nothing."""

Writer = Literal["session", "repairer"]
"""Whose session it is, by the field of the lease in which it stands: the owner's, or the repairer's."""


@dataclass(frozen=True, slots=True)
class PartitionLease:
    """The right to write rows of one partition under `session`, until somebody burns it.

    `burned` are sessions of the writers before, newest last: the server forgets a burn after 30 minutes of silence.
    """

    topic: str
    partition: int
    session: UUID
    burned: tuple[UUID, ...] = ()
    writer: Writer = "session"

    @property
    def key(self) -> str:
        return lease_id(self.topic, self.partition)


def lease_id(topic: str, partition: int) -> str:
    return f"partition:{topic}:{partition}"


def new_lease(topic: str, partition: int, session: UUID, now: datetime, *, durable: int) -> Document:
    """The first lease of a partition; `durable` is the offset below which its records are in the store."""
    return {
        "_id": lease_id(topic, partition),
        "kind": "partition",
        "session": session,
        "burns": 0,
        "durable": durable,
        "durable_session": session,
        "updated_at": now,
    }


async def sessions_in_force(database: Database, partitions: Iterable[tuple[str, int]]) -> set[UUID]:
    """The sessions under which the partitions' owners may write rows now."""
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

    A repairer is burned as well: what it takes for written for good may lie behind where we begin to read. Whoever is
    late burns nobody newer: a session that was read before we were proved to be the owner is that of a predecessor,
    however long the burn takes from there. Raises Fenced where `session` was in force and somebody else took the
    partition from it: a burned session writes nothing any more, and is put in place by nobody. Raises Retryable when
    MongoDB gives no answer.
    """
    key = lease_id(topic, partition)
    while True:
        current = await _current(database, topic, partition, session, clock)  # 1
        if current["session"] == session:
            return PartitionLease(topic, partition, session, tuple(current.get("burned", ())))
        _assert_not_burned(current, session, "owner")
        await may_burn(current["session"])  # 2
        repairer: UUID | None = current.get("repairer")
        former = [current["session"], *([] if repairer is None else [repairer])]
        for each in former:
            await burn_session(database.leases, key, each, deadline_s=deadline_s)
        fields = {"session": session, "updated_at": clock.now()}
        if (
            current.get("durable_session") == current["session"]
        ):  # what that owner said of the offset still holds
            fields["durable_session"] = session
        change = _in_place_of(former, fields)
        if repairer is not None:
            change["$unset"] = {"repairer": ""}
        with translated():
            await database.leases.update_one(  # 3
                {"_id": key, "session": current["session"], "repairer": repairer}, change
            )


async def take_repair(
    database: Database, topic: str, partition: int, session: UUID, *, clock: Clock, deadline_s: float
) -> PartitionLease:
    """Become the one repairer of the partition's rows under `session`; no repairer before can write any more.

    Only rows of records below the offset that the group has committed, asked for after this returned: those the
    owner has written for good. Whoever takes the partition burns the repairer, which then takes its lease again, and
    asks again. Safe to repeat, as `take_partition` is, and raises Fenced as that does. Raises Retryable when MongoDB
    gives no answer.
    """
    key = lease_id(topic, partition)
    while True:
        current = await _current(database, topic, partition, uuid4(), clock)
        former: UUID | None = current.get("repairer")
        if former == session:
            return PartitionLease(topic, partition, session, tuple(current.get("burned", ())), "repairer")
        _assert_not_burned(current, session, "repairer")
        if former is not None:
            await burn_session(database.leases, key, former, deadline_s=deadline_s)
        change = _in_place_of([] if former is None else [former], {"repairer": session})
        with translated():
            await database.leases.update_one({"_id": key, "repairer": former}, change)


async def shut_out_repairer(database: Database, lease: PartitionLease, *, deadline_s: float) -> None:
    """For the owner, before it reads again what lies below the committed offset: the log was made anew.

    Returns when no repairer can write any more; one that comes later asks for the offset that was committed since.
    Raises Fenced for who is not the owner, Retryable when MongoDB gives no answer.
    """
    while True:
        with translated():
            current = await database.leases.find_one({"_id": lease.key, lease.writer: lease.session})
        if current is None:
            raise Fenced(f"partition {lease.partition} of {lease.topic} has another owner")
        repairer: UUID | None = current.get("repairer")
        if repairer is None:
            return
        await burn_session(database.leases, lease.key, repairer, deadline_s=deadline_s)
        change = {
            "$unset": {"repairer": ""},
            "$push": {"burned": {"$each": [repairer], "$slice": -_BURNED_KEPT}},
        }
        with translated():
            await database.leases.update_one({"_id": lease.key, "repairer": repairer}, change)


def _assert_not_burned(current: Document, session: UUID, who: str) -> None:
    """Raise Fenced where a lease, which is another's, has `session` among those that were burned."""
    if session in current.get("burned", ()):
        raise Fenced(f"lease {current['_id']} has another {who}: this session was burned")


def _in_place_of(former: list[UUID], fields: Document) -> Document:
    """The update that keeps the burned sessions, which are burned again from time to time."""
    change: Document = {"$set": fields}
    return change | {"$push": {"burned": {"$each": former, "$slice": -_BURNED_KEPT}}} if former else change


async def _current(database: Database, topic: str, partition: int, session: UUID, clock: Clock) -> Document:
    """The partition's lease, made under `session` if there is none.

    Keyed by `_id`: of two creators one wins, the other reads its lease. The store holds nothing of a partition that
    has no lease: where a group has read some of it, that was lost.
    """
    while True:
        with translated():
            current = await database.leases.find_one({"_id": lease_id(topic, partition)})
        if current is not None:
            return current
        with suppress(DuplicateKeyError), translated():
            await database.leases.insert_one(new_lease(topic, partition, session, clock.now(), durable=0))


async def with_burned_of_now(database: Database, lease: PartitionLease) -> PartitionLease:
    """The lease with all sessions that are to be burned again: repairers come and go while an owner stays."""
    with translated():
        current = await database.leases.find_one({"_id": lease.key}, {"burned": 1})
    return lease if current is None else replace(lease, burned=tuple(current.get("burned", ())))


async def burn_again(database: Database, lease: PartitionLease, clock: Clock, *, deadline_s: float) -> None:
    """Remind the server that the writers before may not write; to be repeated well within 30 minutes.

    A command that was frozen between its last check and the socket comes whenever its process goes on: hours later
    the server would take it for a new one. Raises Retryable when MongoDB gives no answer, or answers so slowly that
    the writers would take longer than `deadline_s` together: the caller has other things to do, and comes again.
    """
    deadline = Deadline.after(clock, deadline_s)
    for done, session in enumerate(reversed(lease.burned)):
        if deadline.passed:
            raise Retryable(
                f"{done} of {len(lease.burned)} owners before were burned again in {deadline_s:g} s"
            )
        await burn_session(database.leases, lease.key, session, deadline_s=deadline_s)


async def assert_in_force(database: Database, lease: PartitionLease, now: datetime) -> None:
    """Raise Fenced when somebody else has taken the partition since, Retryable when MongoDB gives no answer.

    This is a write: when it returns, all that its primary had written before is on a majority, too.
    """
    with translated():
        result = await database.leases.update_one(
            {"_id": lease.key, lease.writer: lease.session}, {"$set": {"updated_at": now}}
        )
    if result.matched_count == 0:
        who = "owner" if lease.writer == "session" else "repairer"
        raise Fenced(f"partition {lease.partition} of {lease.topic} has another {who}")
