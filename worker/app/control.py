"""Control at run time, made of the settings: what there is to pause."""

import asyncio

from projections.kinds import Catalogue
from worker.app.dependencies import LIMIT_S
from worker.contract.routes import routes
from worker.errors import Retryable
from worker.kafka.cluster import Brokers
from worker.kafka.security import kafka_options
from worker.operate.control.targets import Known
from worker.settings import Settings


def known_of(settings: Settings, catalogue: Catalogue | None = None) -> Known:
    """What can be paused here besides roles, kinds of notifications and streams."""
    ours = settings.ownership.catalogue if catalogue is None else catalogue
    return Known(frozenset(routes(settings.ingest.topics)), frozenset(ours.names))


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
