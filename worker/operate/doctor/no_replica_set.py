"""MongoDB runs as a single server, without the oplog that majority writes and change streams rest on."""

from collections.abc import Mapping, Sequence
from typing import Any

from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup


def decide(hello: Mapping[str, Any]) -> Sequence[Seen]:
    """A router of a sharded cluster has no set of its own, and needs none."""
    if hello.get("setName") or hello.get("msg") == "isdbgrid":
        return []
    return [Seen("mongodb", "the server is a member of no replica set")]


async def look(setup: Setup) -> Sequence[Seen]:
    return decide(await setup.mongodb.hello())


NO_REPLICA_SET = Finding(
    name="no_replica_set",
    severity=Severity.ERROR,
    needs=MONGODB,
    means="MongoDB is a single server: change streams, majority writes and transactions need a replica set.",
    fix="Start it with --replSet, and initiate the set with rs.initiate().",
    look=look,
)
