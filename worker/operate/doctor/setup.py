"""The set-up that the doctor looks at: settings, both servers, and the figures that are an operator's to choose."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Self

from worker.contract.routes import routes
from worker.errors import WorkerError
from worker.kafka.cluster import Brokers
from worker.kafka.security import kafka_options
from worker.operate.asking import Once
from worker.operate.doctor.kafka_facts import KafkaFacts
from worker.operate.doctor.mongodb_facts import MongoFacts
from worker.settings import Channel, RoleName, Settings
from worker.storage.database import Database
from worker.storage.errors import translated
from worker.timing import Clock

# A server selection of MongoDB takes 5 s, a connection to Kafka the same.
_ANSWERS_WITHIN_S = 8.0

Explain = Callable[[WorkerError], WorkerError]
"""Adds the setting to look at to a refusal, where there is one."""


class Server(StrEnum):
    """A server that findings need an answer of."""

    MONGODB = "mongodb"
    KAFKA = "kafka"


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as too little or too much.

    `longest_outage` is the time for which the worker, or a server, may be away without losing anything.
    """

    longest_outage: timedelta = timedelta(days=1)
    # A disk is bought, or cleared, within a month.
    full_within: timedelta = timedelta(days=30)
    slow_ms: int = 1_000
    slow_within: timedelta = timedelta(hours=1)
    # A report that is made once a month uses its index as often.
    unused_for: timedelta = timedelta(days=35)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a finding is given. Facts are asked for when somebody wants them, each once."""

    settings: Settings
    database: Database
    clock: Clock
    limits: Limits
    mongodb: MongoFacts
    kafka: KafkaFacts
    answers: Mapping[Server, Once[str | None]] = field(repr=False)

    @classmethod
    def of(
        cls,
        settings: Settings,
        database: Database,
        clock: Clock,
        limits: Limits | None = None,
        explain: Explain = lambda error: error,
    ) -> Self:
        """Nothing is sent yet. Raises `Misconfigured` for a certificate that cannot be used."""
        brokers = Brokers(settings.kafka, kafka_options(settings.kafka))
        read = tuple(routes(settings.ingest.topics))
        notifies = RoleName.NOTIFY in settings.process.roles and Channel.KAFKA in settings.notify.channels
        written = (settings.notify.kafka_topic,) if notifies else ()
        return cls(
            settings=settings,
            database=database,
            clock=clock,
            limits=limits or Limits(),
            mongodb=MongoFacts(database, settings, clock),
            kafka=KafkaFacts(brokers, settings, read, written, clock),
            answers={
                Server.MONGODB: Once(lambda: _refusal(lambda: _ping(database), explain)),
                Server.KAFKA: Once(lambda: _refusal(brokers.answer, explain)),
            },
        )

    async def refusal(self, server: Server) -> str | None:
        """Why a server does not answer, or does not let this worker in; None where it does."""
        return await self.answers[server]()


async def _ping(database: Database) -> None:
    with translated():
        await database.client.admin.command("ping")


async def _refusal(ask: Callable[[], Awaitable[None]], explain: Explain) -> str | None:
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN_S):
            await ask()
    except TimeoutError:
        return f"no answer within {_ANSWERS_WITHIN_S:g} s"
    except WorkerError as error:
        return str(explain(error))
    return None
