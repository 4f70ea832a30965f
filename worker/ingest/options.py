"""How the ingest role reads and writes."""

from dataclasses import dataclass, field

from worker.contract.routes import Routes
from worker.ingest.breaker import BreakerOptions
from worker.kafka.consumer import ConsumerOptions
from worker.settings import IngestSettings


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """The role's settings, and what stands in no setting.

    Without `routes` the consumer's topic carries interactions.
    """

    consumer: ConsumerOptions
    settings: IngestSettings
    routes: Routes | None = None
    breaker: BreakerOptions = field(default_factory=BreakerOptions)
