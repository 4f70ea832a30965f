"""A set-up as the doctor is handed it, and what one finding sees in it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.support.kafka import make_topic
from worker.operate.doctor.examination import Found, Report, examine
from worker.operate.doctor.finding import Finding
from worker.operate.doctor.setup import Limits, Setup
from worker.settings import Settings, load_settings
from worker.storage.database import Database
from worker.storage.durable_offsets import make_leases
from worker.timing import Clock, SystemClock

# Servers of tests are young: their oplogs have held writes of minutes.
SHORT = Limits(longest_outage=timedelta(minutes=1))

Given = Mapping[str, str]
"""Settings as variables of the environment."""


class Ahead(SystemClock):
    """A wall clock that is so far ahead."""

    def __init__(self, by: timedelta) -> None:
        self._by = by

    def now(self) -> datetime:
        return super().now() + self._by


def loaded(given: Given, **changes: Any) -> Settings:
    """The settings of these variables, with others by name."""
    named = {name.removeprefix("SEVENP_").lower(): value for name, value in given.items()}
    return load_settings(**{**named, **changes})


@dataclass(frozen=True, slots=True)
class Doctor:
    """Looks at one database with one set of settings; everything is asked anew each time."""

    given: Given
    database: Database
    limits: Limits = SHORT
    clock: Clock = field(default_factory=SystemClock)

    def but(self, **changes: Any) -> "Doctor":
        """With another database, clock or limits."""
        return replace(self, **changes)

    def setup(self, **changes: Any) -> Setup:
        return Setup.of(loaded(self.given, **changes), self.database, self.clock, self.limits)

    async def report(self, findings: Sequence[Finding], **changes: Any) -> Report:
        """`changes` are settings by name."""
        return await examine(self.setup(**changes), findings)

    async def sees(self, finding: Finding, **changes: Any) -> Sequence[Found]:
        """The cases of one finding, which must have been looked for."""
        report = await self.report([finding], **changes)
        assert not report.not_looked, report.not_looked
        return report.found

    async def cannot_tell(self, finding: Finding, **changes: Any) -> str:
        """Why one finding could not be looked for."""
        [not_looked] = (await self.report([finding], **changes)).not_looked
        return not_looked.reason


def subjects(found: Iterable[Found]) -> list[str]:
    return [each.seen.subject for each in found]


def told(found: Iterable[Found]) -> str:
    """Everything that is said of them, in one text."""
    return "\n".join(f"{each.seen.subject}: {each.seen.words} -> {each.fix}" for each in found)


async def sound_topic(kafka: str, partitions: int = 4, **changes: Any) -> str:
    """A topic that says everything of itself that the doctor asks for, and is as it should be."""
    sound = {
        "cleanup_policy": "delete",
        "retention_ms": 120_000,  # more than `SHORT` asks for, less than any oplog holds
        "retention_bytes": -1,
        "max_message_bytes": 1_048_588,
        "min_insync_replicas": 1,
    }
    return await make_topic(kafka, partitions, **{**sound, **changes})


async def commit(kafka: str, topic: str, offsets: Mapping[int, int]) -> None:
    """Have the topic's group stand at these offsets, by partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=f"group-{topic}", enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, number) for number in offsets])
        await consumer.commit({TopicPartition(topic, number): offset for number, offset in offsets.items()})
    finally:
        await consumer.stop()


async def hold(database: Database, topic: str, durable: Mapping[int, int]) -> None:
    """Have the leases of the topic's partitions say that all records below these offsets are stored."""
    places = {(topic, number): offset for number, offset in durable.items()}
    await make_leases(database, places, SystemClock().now())
