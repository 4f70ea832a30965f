"""What is going on, in one look: who works and holds what, how far behind it is, what waits, runs and was checked.

Only reads. What is away is named with its reason, and everything else is shown all the same.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from worker.app.control import known_of
from worker.app.dependencies import LIMIT_S, kafka_probe, mongodb_probe
from worker.app.exits import ExitCode
from worker.app.opening import opened, require_event_store
from worker.contract.routes import routes
from worker.errors import SchemaMismatch, WorkerError
from worker.ingest.options import IngestOptions
from worker.jobs import operate
from worker.jobs.operate import Seen as SeenRun
from worker.jobs.scrub import SCRUB
from worker.jobs.verify_fix import VERIFY_FIX
from worker.kafka.cluster import Brokers
from worker.kafka.log_reader import LogReader
from worker.kafka.record import Partition
from worker.kafka.security import kafka_options
from worker.operate.control.commands import in_force
from worker.operate.control.controls import Controls
from worker.operate.held_leases import HeldLeases, held_leases
from worker.retry.depths import Depths, measure
from worker.settings import RoleName, Settings
from worker.storage import job_runs
from worker.storage.database import Database
from worker.storage.job_models import JobRun
from worker.storage.work_items import event_types
from worker.storage.workers import Seen as SeenWorker
from worker.storage.workers import known_workers
from worker.timing import SystemClock

T = TypeVar("T")

# Runs that are looked at for those that somebody is at.
_NEWEST_RUNS = 50


@dataclass(frozen=True, slots=True)
class TopicLag:
    """How far the group is behind in one topic: in records, and how many partitions it has committed nothing of.

    Of a partition nobody has read yet, everything in it waits. `read_by` are the partitions of each member of the
    group by its client id, None where Kafka does not tell.
    """

    topic: str
    partitions: int
    records: int
    unread_partitions: int
    read_by: Mapping[str, Sequence[int]] | None = None

    @property
    def read_by_nobody(self) -> list[int]:
        """Partitions that no member of the group has; none where Kafka does not tell."""
        if self.read_by is None:
            return []
        read = {number for numbers in self.read_by.values() for number in numbers}
        return [number for number in range(self.partitions) if number not in read]


@dataclass(slots=True)
class Status:
    """One look. A part that could not be looked at is None, and stands in `unknown` with the reason.

    `dependencies` are reasons why they do not answer, None where they do.
    """

    at: datetime
    dependencies: dict[str, str | None] = field(default_factory=dict)
    workers: Sequence[SeenWorker] | None = None
    leases: HeldLeases | None = None
    lag: Sequence[TopicLag] | None = None
    depths: Depths | None = None
    jobs: Sequence[SeenRun] | None = None
    controls: Controls | None = None
    checks: Mapping[str, JobRun | None] | None = None
    unknown: dict[str, str] = field(default_factory=dict)

    @property
    def missing_roles(self) -> list[str]:
        """Roles that no live worker has; none where nobody knows."""
        if self.workers is None:
            return []
        present = {role for each in self.workers if each.lives for role in each.worker.roles}
        return [role for role in RoleName if role not in present]

    @property
    def code(self) -> ExitCode:
        """0: all was looked at, and every role has a worker. 4: something did not answer. 1: a role has nobody."""
        if self.unknown:
            return ExitCode.UNREACHABLE
        return ExitCode.DIFFERENCE if self.missing_roles else ExitCode.OK


async def look(settings: Settings) -> Status:
    """Ask MongoDB and Kafka at the same time. Raises `SchemaMismatch` for a database prefix that nobody uses."""
    status = Status(datetime.now(UTC))
    await asyncio.gather(_ask_mongodb(settings, status), _ask_kafka(settings, status))
    return status


async def _ask_mongodb(settings: Settings, status: Status) -> None:
    parts = ("workers", "paused", "leases", "depths", "jobs", "checks")
    try:
        async with opened(settings) as database:
            if not await _answers(status, "mongodb", mongodb_probe(database).ask, parts):
                return
            await require_event_store(database, settings.mongodb.database_prefix)
            status.workers = await _part(status, "workers", _workers(database))
            status.controls = await _part(status, "paused", _controls(settings, database))
            status.leases = await _part(status, "leases", held_leases(database))
            status.depths = await _part(status, "depths", measure(database, event_types(database.catalogue)))
            status.jobs = await _part(status, "jobs", _runs(database))
            status.checks = await _part(status, "checks", _checks(database))
    except SchemaMismatch:
        raise
    except WorkerError as error:
        status.dependencies["mongodb"] = str(error)
        status.unknown |= dict.fromkeys(parts, str(error))


async def _ask_kafka(settings: Settings, status: Status) -> None:
    topics, options = (settings.ingest.topics.interactions,), kafka_options(settings.kafka)
    probe = kafka_probe(settings.kafka.bootstrap_servers, topics, options)
    if await _answers(status, "kafka", probe.ask, ("lag",)):
        status.lag = await _part(status, "lag", _lag(settings))


async def _answers(
    status: Status, name: str, ask: Callable[[], Awaitable[None]], parts: Sequence[str]
) -> bool:
    """Note whether a dependency answers; without it nobody knows these parts."""
    try:
        async with asyncio.timeout(LIMIT_S):
            await ask()
    except (WorkerError, TimeoutError) as error:
        reason = str(error) or f"no answer within {LIMIT_S:g} s"
        status.dependencies[name] = reason
        status.unknown |= dict.fromkeys(parts, f"{name}: {reason}")
        return False
    status.dependencies[name] = None
    return True


async def _part(status: Status, name: str, asked: Awaitable[T]) -> T | None:
    try:
        return await asked
    except WorkerError as error:
        status.unknown[name] = str(error)
        return None


async def _workers(database: Database) -> Sequence[SeenWorker]:
    return (await known_workers(database))[0]


async def _controls(settings: Settings, database: Database) -> Controls:
    return await in_force(database, settings.control.environment, known_of(settings, database.catalogue))


async def _runs(database: Database) -> Sequence[SeenRun]:
    runs, _ = await operate.newest(database, limit=_NEWEST_RUNS)
    return [each for each in runs if each.is_at_work or each.state == "killed"]


async def _checks(database: Database) -> Mapping[str, JobRun | None]:
    """By job the last run that came to its end, of those that check everything."""
    return {job: await job_runs.last_ended(database, job) for job in (SCRUB.name, VERIFY_FIX.name)}


async def _lag(settings: Settings) -> Sequence[TopicLag]:
    """Of each topic, by a reader that is no member of the group."""
    async with LogReader(IngestOptions.of(settings.kafka, settings.ingest).consumer, SystemClock()) as reader:
        partitions = await reader.partitions()
        logs, committed = await reader.log_ranges(partitions), await reader.committed(partitions)
    reads = await _reads(settings)
    lags = []
    for topic in routes(settings.ingest.topics):
        of_topic = [each for each in partitions if each.topic == topic]
        behind = [max(0, (logs[each].end or 0) - committed[each]) for each in of_topic if each in committed]
        of_members = None if reads is None else _in_topic(reads, topic)
        lags.append(TopicLag(topic, len(of_topic), sum(behind), len(of_topic) - len(behind), of_members))
    return lags


async def _reads(settings: Settings) -> Mapping[str, Sequence[Partition]] | None:
    """Who reads what; None where the broker, or what it allows this user, does not say so. All else is told."""
    try:
        group = await Brokers(settings.kafka, kafka_options(settings.kafka)).group()
    except WorkerError:
        return None
    # Members without any partition: they are being shared out, or this broker does not say.
    return None if group.members and not group.reads else group.reads


def _in_topic(reads: Mapping[str, Sequence[Partition]], topic: str) -> dict[str, list[int]]:
    found = {client: [each.number for each in some if each.topic == topic] for client, some in reads.items()}
    return {client: numbers for client, numbers in sorted(found.items()) if numbers}
