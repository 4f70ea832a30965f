"""Checks leases and positions: each is of a kind, a group and a date that the worker knows."""

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from worker.storage import reading
from worker.storage.database import Collection, Database
from worker.storage.job_leases import JOB_LEASES
from worker.storage.leases import group_name
from worker.storage.projection_state import SESSION, is_migrating
from worker.storage.resume_tokens import token_time_s
from worker.storage.shares import GROUPS
from worker.verify.findings import Fault, Finding, Kind, Run, broken
from worker.verify.reading import pages, server_times

Document = Mapping[str, Any]

# Leases are of seconds, some by the clock of a worker; beyond a day nobody would take them over in time.
_LONGEST_LEASE = timedelta(days=1)
# A new primary may for some time know less of the cluster's time than the old one did.
_SLACK_S = 60
# The groups of each watcher.
_GROUPS: Mapping[str, int] = {"progress": GROUPS, "counts": 1, "models": 1, "retry": 1, "canary": 1}
_GROUP_NAMES = frozenset(group_name(watcher, n) for watcher, groups in _GROUPS.items() for n in range(groups))
_PARTITION = re.compile(r"partition:.+:[0-9]+")
_MARKER = re.compile(r"counts:((course|user):[0-9a-f]{24}|sum:\w+)")
# What the version before kept where these stand now.
_BEFORE = re.compile(r"counts:session|counts:(refused:)?(course|user|learner):[0-9a-f]{24}|counts:sum:\w+")
_FUTURE = "a date in the future"


@dataclass(frozen=True, slots=True)
class Now:
    """What a lease or a position may not lie beyond: a date, the cluster's time, and the epochs of the leases."""

    horizon: datetime
    cluster_time_s: int
    epochs: Mapping[str, int] = field(default_factory=dict)


async def check_leases(run: Run) -> None:
    """Put into the run's tally what is wrong with positions and leases.

    Positions are read before leases and time: each has the epoch of a lease that was there before it.
    """
    database, tally = run.database, run.tally
    positions: list[Document] = []
    async for state, now in _well_formed(run, database.projection_state):
        if state["kind"] == "position":
            positions.append(state)
        else:
            tally.report(audit_state(state, now))
    if await is_migrating(database):
        async for state, now in _well_formed(run, database.watch_positions):
            tally.report(audit_state({"kind": "before", **state}, now))
    epochs: dict[str, int] = {}
    async for lease, now in _well_formed(run, database.leases):
        epochs |= {lease["_id"]: lease["epoch"]} if lease["kind"] == "group" else {}
        tally.report(audit_lease(lease, now))
    now = replace(await _now(database), epochs=epochs)
    for position in positions:
        tally.report(audit_state(position, now))


async def _well_formed(run: Run, collection: Collection) -> AsyncIterator[tuple[Document, Now]]:
    """Those of the documents that have the stored shape, each with a time after it was read."""
    async for page in pages(collection):
        now = await _now(run.database)
        for document in run.tally.well_formed(page):
            yield document, now


async def _now(database: Database) -> Now:
    local, cluster_time_s = await server_times(database)
    return Now(local + _LONGEST_LEASE, cluster_time_s + _SLACK_S)


async def releases_ahead(database: Database, watcher: str, versions: Iterable[int]) -> int:
    """By how much a live worker's projections are newer than these, at most; 0 without any.

    Documents that are newer by no more are looked after. A member's lease has the sum of its versions, all of which
    only go up.
    """
    live: Document = {
        "kind": "member",
        "_id": {"$regex": f"^member:{watcher}:"},
        "$expr": {"$gt": ["$expires_at", "$$NOW"]},
    }
    members = await reading.find(database.leases, live, {"version": 1})
    found = (member.get("version") for member in members.documents)
    newest = max((version for version in found if isinstance(version, int)), default=0)
    return max(0, newest - sum(versions))


def audit_lease(lease: Document, now: Now) -> Iterator[Finding]:
    """What is wrong with one well-formed lease."""
    name, kind = lease["_id"], lease["kind"]
    known = {
        "partition": bool(_PARTITION.fullmatch(name)),
        "group": name in _GROUP_NAMES,
        "member": any(name == f"member:{watcher}:{lease.get('owner')}" for watcher in _GROUPS),
        "job": name.startswith(JOB_LEASES),
    }[kind]
    until = lease["updated_at"] if kind == "partition" else lease["expires_at"]
    rules = ((f"no {kind} of this name is known", not known), (_FUTURE, until > now.horizon))
    yield from broken(Kind.LEASE, Fault.DIFFERENT, f"leases {name}", rules)
    missing = [f"{each['first_offset']:,} to {each['last_offset']:,}" for each in lease.get("missing", ())]
    if missing:
        detail = f"its group has read records that the store does not hold (offsets {', '.join(missing)})"
        yield Finding(Kind.LEASE, Fault.MISSING, f"leases {name}", detail)


def audit_state(state: Document, now: Now) -> Iterator[Finding]:
    """What is wrong with one well-formed document of `projection_state`, or of the version before."""
    name, kind = state["_id"], state["kind"]
    known = {
        "position": name in _GROUP_NAMES,
        "session": name == SESSION,
        "marker": bool(_MARKER.fullmatch(name)),
        "migration": name == "migration",
        "before": name in _GROUP_NAMES or bool(_BEFORE.fullmatch(name)),
    }[kind]
    rules = (
        (f"no {kind} of this name is known", not known),
        *(_position_rules(state, now) if kind == "position" else ()),
        (_FUTURE, state["saved_at"] > now.horizon),
    )
    place = "watch_positions" if kind == "before" else "projection_state"
    return broken(Kind.POSITION, Fault.DIFFERENT, f"{place} {name}", rules)


def _position_rules(position: Document, now: Now) -> Iterator[tuple[str, bool]]:
    if position["token"] is not None:  # None: a group that was taken and has saved nothing yet
        time_s = token_time_s(position["token"])
        yield "its token is none", time_s is None
        yield "its token lies in the future", time_s is not None and time_s > now.cluster_time_s
    ahead = position["epoch"] > now.epochs.get(position["_id"], position["epoch"])
    yield "its epoch is ahead of its lease, so that nobody can save it", ahead
