"""How the ingest role reads and writes."""

from dataclasses import dataclass, field

from worker.ingest.breaker import BreakerOptions
from worker.ingest.pipeline import PipelineOptions
from worker.kafka.consumer import ConsumerOptions
from worker.kafka.positions import StartPolicy


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """All of it; seconds where not stated otherwise."""

    consumer: ConsumerOptions
    pipeline: PipelineOptions = field(default_factory=PipelineOptions)
    breaker: BreakerOptions = field(default_factory=BreakerOptions)
    start_policy: StartPolicy = "earliest"
    drain_deadline_s: float = 20.0
    position_check_interval_s: float = 10.0
