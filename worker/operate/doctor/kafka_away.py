"""No broker answers, or none lets this worker in."""

from collections.abc import Sequence

from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.setup import Server, Setup
from worker.settings import variable


async def look(setup: Setup) -> Sequence[Seen]:
    refusal = await setup.refusal(Server.KAFKA)
    return [] if refusal is None else [Seen("kafka", refusal)]


KAFKA_AWAY = Finding(
    name="kafka_away",
    severity=Severity.ERROR,
    needs=KAFKA,
    means="No Kafka broker answers, or none lets this worker in; nothing else about it can be looked at.",
    fix=f"Start it, or correct {variable('kafka_bootstrap_servers')} and the security settings beside it.",
    look=look,
    when_away=True,
)
