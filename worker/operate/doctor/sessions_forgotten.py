"""The server forgets sessions before their burn is repeated: a former owner could write rows once more."""

from collections.abc import Mapping, Sequence
from typing import Any

from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.storage.partition_lease import BURN_AGAIN_EVERY_S

# One repetition may fail.
_REPETITIONS = 2


def decide(hello: Mapping[str, Any]) -> Sequence[Seen]:
    minutes = hello.get("logicalSessionTimeoutMinutes")
    if minutes is None or minutes * 60 >= _REPETITIONS * BURN_AGAIN_EVERY_S:
        return []
    words = (
        f"the server forgets a session after {minutes} min of silence, and the worker reminds it of "
        f"former owners every {BURN_AGAIN_EVERY_S / 60:.0f} min"
    )
    return [Seen("mongodb", words)]


async def look(setup: Setup) -> Sequence[Seen]:
    return decide(await setup.mongodb.hello())


SESSIONS_FORGOTTEN = Finding(
    name="sessions_forgotten",
    severity=Severity.ERROR,
    needs=MONGODB,
    means="A worker that froze and wakes up could write rows of a partition that it lost: its fence is forgotten.",
    fix="Start every member with localLogicalSessionTimeoutMinutes of 30, the default.",
    look=look,
)
