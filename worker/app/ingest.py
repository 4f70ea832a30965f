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
    max_bytes = ingest.max_bytes // BATCHES_IN_FLIGHT
    consumer = ConsumerOptions(kafka, kafka_options(kafka), tuple(table), ingest.max_records, max_bytes)
    return IngestOptions(consumer, ingest, table)
