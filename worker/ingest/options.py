"""How the ingest role reads and writes."""

from dataclasses import dataclass, field

from worker.contract.codec import Limits
from worker.contract.routes import Routes
from worker.ingest.breaker import BreakerOptions
from worker.kafka.consumer import ConsumerOptions
from worker.kafka.positions import StartPolicy


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """`max_rows` and `max_bytes` bound one time-series command; `deadline_s` is one answer of MongoDB.

    A batch of more than `part_records` is worked on in parts, which costs MongoDB nothing (tried: 2,000 to 20,000).
    """

    limits: Limits
    part_records: int
    max_bytes: int
    max_rows: int = 20_000
    deadline_s: float = 20.0


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """The options of the whole role; numbers are seconds where their name says nothing else.

    Without `routes` the consumer's topic carries interactions.
    """

    consumer: ConsumerOptions
    pipeline: PipelineOptions
    start_policy: StartPolicy
    drain_deadline_s: float
    position_check_interval_s: float
    routes: Routes | None = None
    breaker: BreakerOptions = field(default_factory=BreakerOptions)
