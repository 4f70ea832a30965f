"""The loss of one machine stops the replica set, or takes its data."""

from collections.abc import Mapping, Sequence
from typing import Any

from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.words import counted

_ENOUGH = 3


def decide(hello: Mapping[str, Any]) -> Sequence[Seen]:
    """Arbiters vote and hold nothing: a write needs a majority of those that hold data."""
    holding = [*hello.get("hosts", ()), *hello.get("passives", ())]
    if not hello.get("setName") or len(holding) >= _ENOUGH:
        return []
    arbiters = hello.get("arbiters", ())
    beside = f" and {counted(len(arbiters), 'arbiter')}" if arbiters else ""
    return [
        Seen("mongodb", f"the set {hello['setName']} has {counted(len(holding), 'member')} with data{beside}")
    ]


async def look(setup: Setup) -> Sequence[Seen]:
    return decide(await setup.mongodb.hello())


FEW_MEMBERS = Finding(
    name="few_members",
    severity=Severity.ADVICE,
    needs=MONGODB,
    means="The replica set has fewer than three members with data: the loss of one machine stops all writes.",
    fix="Add members with rs.add() until three hold data.",
    look=look,
)
