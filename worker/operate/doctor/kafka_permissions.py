"""The user of the settings may not do with Kafka what ingest needs: see the topic, read it, join the group."""

from collections.abc import Awaitable, Callable, Sequence

from worker.errors import Misconfigured, TopicMissing
from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup


async def look(setup: Setup) -> Sequence[Seen]:
    """Each right is tried by a request that changes nothing."""
    group = setup.settings.kafka.group_id
    tries: tuple[tuple[str, Callable[[], Awaitable[object]]], ...] = (
        ("topics", setup.kafka.state),
        (f"group {group}", setup.kafka.group),
        ("records and offsets", setup.kafka.positions),
    )
    found = []
    for subject, attempt in tries:
        try:
            await attempt()
        except TopicMissing:  # one that may not be seen is not there, and was told before
            continue
        except Misconfigured as error:
            found.append(Seen(subject, str(error)))
    if not found and not (await setup.kafka.group()).may_read:
        found.append(Seen(f"group {group}", f"this user may see the consumer group {group}, and not join it"))
    return found


KAFKA_PERMISSIONS = Finding(
    name="kafka_permissions",
    severity=Severity.ERROR,
    needs=KAFKA,
    means="The Kafka user may not see or read a topic, or not join the consumer group.",
    fix="Grant READ and DESCRIBE on topic and group: kafka-acls.sh --add --allow-principal User:NAME --consumer.",
    look=look,
)
