"""Control at run time, made of the settings: who reads the switches, what there is to pause, what stops at a gap."""

import asyncio

from projections.kinds import Catalogue
from worker.app.dependencies import LIMIT_S
from worker.app.roles import Dependencies
from worker.contract.routes import routes
from worker.errors import Retryable
from worker.kafka.cluster import Brokers
from worker.kafka.security import kafka_options
from worker.operate.control.role import ControlReader
from worker.operate.control.targets import Known
from worker.settings import Settings
from worker.telemetry.logs import set_log_level


def known_of(settings: Settings, catalogue: Catalogue | None = None) -> Known:
    """What can be paused here besides roles, kinds of notifications and streams."""
    ours = settings.ownership.catalogue if catalogue is None else catalogue
    return Known(frozenset(routes(settings.ingest.topics)), frozenset(ours.names))


def control_reader(settings: Settings, given: Dependencies) -> ControlReader:
    """Turns the gate that the roles are given. A level that is set at run time stands in for that of the settings."""
    return ControlReader(
        given.database,
        settings.control,
        known_of(settings, given.database.catalogue),
        given.gate,
        given.clock,
        given.metrics,
        given.health,
        set_log_level=lambda level: set_log_level(level or settings.process.log_level),
    )


async def partitions_of(settings: Settings, topic: str) -> int:
    """How many partitions a topic has, 0 for one that does not exist.

    Raises Retryable where Kafka does not answer, Misconfigured where this user may not ask.
    """
    brokers = Brokers(settings.kafka, kafka_options(settings.kafka))
    try:
        async with asyncio.timeout(LIMIT_S):
            return len((await brokers.state([topic])).topics.get(topic, ()))
    except TimeoutError as error:
        raise Retryable(f"no answer from Kafka within {LIMIT_S:g} s") from error
