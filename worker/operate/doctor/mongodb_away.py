"""MongoDB does not answer, or does not let this worker in."""

from collections.abc import Sequence

from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.setup import Server, Setup
from worker.settings import variable


async def look(setup: Setup) -> Sequence[Seen]:
    refusal = await setup.refusal(Server.MONGODB)
    return [] if refusal is None else [Seen("mongodb", refusal)]


MONGODB_AWAY = Finding(
    name="mongodb_away",
    severity=Severity.ERROR,
    needs=MONGODB,
    means="MongoDB does not answer, or does not let this worker in; nothing else about it can be looked at.",
    fix=f"Start it, or correct {variable('mongodb_uri')} and the login beside it.",
    look=look,
    when_away=True,
)
