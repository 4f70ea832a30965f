"""How the ingest role reads and writes."""

from dataclasses import dataclass, field

from worker.contract.routes import Routes
from worker.ingest.breaker import BreakerOptions
from worker.kafka.consumer import ConsumerOptions
from worker.settings import IngestSettings


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """The role's settings, and what stands in no setting; `routes` has a row for each of the consumer's topics."""

    consumer: ConsumerOptions
    settings: IngestSettings
    routes: Routes
    breaker: BreakerOptions = field(default_factory=BreakerOptions)
