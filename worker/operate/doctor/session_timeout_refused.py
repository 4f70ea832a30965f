"""The brokers do not accept the session time-out of the settings: no worker can join the group."""

from collections.abc import Sequence

from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.settings import variable


def decide(session_ms: int, least_ms: int, most_ms: int) -> Sequence[Seen]:
    if least_ms <= session_ms <= most_ms:
        return []
    return [
        Seen(
            variable("session_timeout_ms"),
            f"it is {session_ms} ms, and the brokers accept {least_ms} to {most_ms} ms",
        )
    ]


async def look(setup: Setup) -> Sequence[Seen]:
    least_ms = int(await setup.kafka.of_broker("group.min.session.timeout.ms"))
    most_ms = int(await setup.kafka.of_broker("group.max.session.timeout.ms"))
    return decide(setup.settings.kafka.session_timeout_ms, least_ms, most_ms)


SESSION_TIMEOUT_REFUSED = Finding(
    name="session_timeout_refused",
    severity=Severity.ERROR,
    needs=KAFKA,
    means="The brokers do not accept the session time-out: no worker can join the group.",
    fix=f"Change {variable('session_timeout_ms')}, or group.min.session.timeout.ms of the brokers.",
    look=look,
)
