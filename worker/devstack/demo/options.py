"""The options of `make demo`; the command line makes one of these."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from projections.catalogue import SHARED
from worker.contract.family import Inlet
from worker.contract.routes import USUAL_TOPICS, Topics
from worker.devstack.servers.stack import KafkaKind
from worker.kafka.files import Format


@dataclass(frozen=True, slots=True)
class Names:
    """What a run is called on its servers."""

    database_prefix: str = "education_platform"
    topics: Topics = USUAL_TOPICS
    kafka_group_id: str = "sevenp-worker"

    @property
    def topic(self) -> str:
        """The one of what learners do."""
        return self.topics.interactions


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """One run of the demo.

    Without `input`, `events` simulated records of learners from `seed` are published, and what their platform says
    beside them; with it, the file's lines as `format`, and nothing of a platform
    (`xapi_home_page` is that of the platform's own accounts).
    `mongodb_uri` and `kafka_bootstrap_servers` name servers to use; None starts our own. `worker_url` names a
    worker that already runs on them (what KEEP prints); None starts one. `json` is where the summary goes.
    `stack` is the kind of Kafka that is started where none is named. `names` are those of the settings; on named
    servers the demo uses its own instead, unless `as_configured`. `server_settings` are the variables by which a
    worker gets at the named servers, `mongodb` and `kafka` the same as arguments of the clients. `unheeded` are the
    variables of settings that somebody made and the demo's worker does not get. `owned` are the shared collections
    whose documents the worker makes of events; those of others the demo writes, as a platform that keeps them.
    """

    events: int = 20_000
    seed: int = 7
    input: Path | None = None
    format: Format = "native"
    xapi_home_page: str | None = None
    json: Path | None = None
    keep: bool = False
    mongodb_uri: str | None = None
    kafka_bootstrap_servers: str | None = None
    worker_url: str | None = None
    names: Names = field(default_factory=Names)
    as_configured: bool = False
    server_settings: Mapping[str, str] = field(default_factory=dict)
    mongodb: Mapping[str, Any] = field(default_factory=dict)
    kafka: Mapping[str, Any] = field(default_factory=dict)
    unheeded: tuple[str, ...] = ()
    partitions: int = 4
    stack: KafkaKind = "embedded"
    owned: frozenset[str] = SHARED

    @property
    def topics(self) -> list[str]:
        """Those that the demo may publish to, the learners' first."""
        inlets = (each for each in Inlet if each is not Inlet.WORKER)
        return [topic for inlet in inlets if (topic := self.names.topics.of(inlet))]

    @property
    def plays_platform(self) -> bool:
        """Beside learners a platform is simulated: there is no file, and a topic for each family of events."""
        return self.input is None and len(self.topics) == len(Inlet) - 1
