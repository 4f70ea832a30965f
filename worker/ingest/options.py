"""How the ingest role reads and writes: made of the settings."""

from dataclasses import dataclass, field
from typing import Self

from worker.contract.routes import Routes, routes
from worker.ingest.breaker import BreakerOptions
from worker.ingest.pipeline import BATCHES_IN_FLIGHT
from worker.kafka.consumer import ConsumerOptions
from worker.kafka.security import kafka_options
from worker.settings import IngestSettings, KafkaSettings


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """The role's settings, and what stands in no setting; `routes` has a row for each of the consumer's topics."""

    consumer: ConsumerOptions
    settings: IngestSettings
    routes: Routes
    breaker: BreakerOptions = field(default_factory=BreakerOptions)

    @classmethod
    def of(cls, kafka: KafkaSettings, ingest: IngestSettings) -> Self:
        """Every topic of the route table is read, and only that of the learners has to be there.

        A platform that publishes no events of a kind yet has no topic for them. Raises `Misconfigured` for a
        certificate that cannot be used.
        """
        table = routes(ingest.topics)
        max_bytes = ingest.max_bytes // BATCHES_IN_FLIGHT
        security, optional = kafka_options(kafka), frozenset(table) - {ingest.topics.interactions}
        consumer = ConsumerOptions(
            kafka, security, tuple(table), ingest.max_records, max_bytes, optional=optional
        )
        return cls(consumer, ingest, table)
