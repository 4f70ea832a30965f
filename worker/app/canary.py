"""The canary as a role: the publisher, which operators' parts must not know how to make, is given to it."""

from functools import partial
from uuid import uuid4

from worker.app.producing import open_publisher
from worker.held_groups import HeldGroups
from worker.operate.canary import NAME, Canary
from worker.settings import Settings
from worker.storage.database import Database
from worker.storage.leases import GroupLeases
from worker.telemetry.health import Component
from worker.telemetry.metrics import Metrics
from worker.timing import Clock


def make_canary(
    settings: Settings, database: Database, clock: Clock, component: Component, metrics: Metrics, owner: str
) -> Canary:
    """One of all workers that have the canary sends it: whoever holds the lease."""
    canary = settings.canary
    leases = GroupLeases(database, owner, watcher=NAME, lease_s=canary.lease_s, groups=1)
    groups = HeldGroups(leases, clock, component, metrics, canary.renew_every_s)
    # An event that is sent twice is one event: no broker has to know idempotent producers for it.
    connect = partial(open_publisher, settings, settings.ingest.topic, idempotent=False)
    return Canary(database, clock, component, metrics, canary, groups, connect, uuid4)
