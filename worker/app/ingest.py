"""Settings as the options of the ingest role: what it reads with, and how much of it at once."""

from worker.contract.routes import routes
from worker.ingest.options import IngestOptions
from worker.ingest.pipeline import BATCHES_IN_FLIGHT
from worker.kafka.consumer import ConsumerOptions
from worker.kafka.security import kafka_options
from worker.settings import IngestSettings, KafkaSettings


def ingest_options(kafka: KafkaSettings, ingest: IngestSettings) -> IngestOptions:
    """Every topic of the route table is read. Raises `Misconfigured` for a certificate that cannot be used."""
    table = routes(ingest.topic)
    return IngestOptions(
        consumer=ConsumerOptions(
            bootstrap_servers=kafka.bootstrap_servers,
            group_id=kafka.group_id,
            group_instance_id=kafka.group_instance_id,
            topics=tuple(table),
            max_records=ingest.max_records,
            max_bytes=ingest.max_bytes // BATCHES_IN_FLIGHT,
            session_timeout_s=kafka.session_timeout_ms / 1000,
            heartbeats_per_session=kafka.heartbeats_per_session,
            rebalance_timeout_s=kafka.rebalance_timeout_ms / 1000,
            kafka=kafka_options(kafka),
        ),
        settings=ingest,
        routes=table,
    )
