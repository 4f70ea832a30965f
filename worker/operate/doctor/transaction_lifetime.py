"""The server ends transactions sooner than the worker gives up waiting for one answer in them."""

from collections.abc import Mapping, Sequence
from typing import Any

from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.storage.database import SOCKET_MS

_SOCKET_S = SOCKET_MS / 1000


def decide(parameters: Mapping[str, Any]) -> Sequence[Seen]:
    lifetime_s = parameters.get("transactionLifetimeLimitSeconds")
    if lifetime_s is None or lifetime_s >= _SOCKET_S:
        return []
    words = f"transactionLifetimeLimitSeconds is {lifetime_s}, and the worker waits {_SOCKET_S:.0f} s for one answer"
    return [Seen("mongodb", words)]


async def look(setup: Setup) -> Sequence[Seen]:
    return decide(await setup.mongodb.parameters())


TRANSACTION_LIFETIME = Finding(
    name="transaction_lifetime",
    severity=Severity.WARNING,
    needs=MONGODB,
    means="MongoDB ends transactions that the worker still waits for: counting large batches never ends.",
    fix="Set transactionLifetimeLimitSeconds to 60, the default, on every member.",
    look=look,
)
