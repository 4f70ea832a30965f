"""The URI names one member and no other: after an election the worker waits for a primary that is elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Any

from worker.operate.doctor.finding import NOWHERE, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.settings import variable


def decide(options: Mapping[str, Any]) -> Sequence[Seen]:
    if not options.get("directconnection"):
        return []
    return [Seen(variable("mongodb_uri"), "the URI has directConnection=true")]


async def look(setup: Setup) -> Sequence[Seen]:
    return decide(setup.settings.mongodb.address.options)


DIRECT_CONNECTION = Finding(
    name="direct_connection",
    severity=Severity.WARNING,
    needs=NOWHERE,
    means="The URI binds the worker to one member: after an election it waits for a primary that is elsewhere.",
    fix="Take directConnection out of the URI, and name the replica set: replicaSet=rs0.",
    look=look,
)
