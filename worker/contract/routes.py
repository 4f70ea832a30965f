"""The route table: what each topic carries and where it goes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Final

from worker.contract.families import families_of
from worker.contract.family import EventTypes, Family, Inlet
from worker.contract.formats import Format


@dataclass(frozen=True, slots=True)
class Topics:
    """The topic of each inlet; an empty one is off."""

    interactions: str
    content: str = ""
    accounts: str = ""
    billing: str = ""
    worker: str = ""

    def __iter__(self) -> Iterator[str]:
        """Those that are on."""
        return iter([topic for each in fields(self) if (topic := getattr(self, each.name))])

    def of(self, inlet: Inlet) -> str:
        """The topic of an inlet, empty where it is off."""
        topic: str = getattr(self, inlet.value)
        return topic


USUAL_TOPICS: Final = Topics(
    "interaction-events", "content-events", "account-events", "billing-events", "worker-events"
)
"""What the topics are called where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Route:
    """One topic: the families of its events, and the foreign formats they may come in.

    Family, stream and needed ids of an event follow from its type. `own`: only the worker writes there.
    """

    topic: str
    families: tuple[Family, ...]
    formats: tuple[Format, ...] = ()
    types: EventTypes = field(init=False, compare=False)
    time_series: bool = field(init=False, compare=False)
    """Whether something that it carries has rows in the time series."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "types", EventTypes(self.families))
        object.__setattr__(self, "time_series", any(family.time_series for family in self.families))

    @property
    def own(self) -> bool:
        """Whether only the worker writes to the topic."""
        return any(family.inlet is Inlet.WORKER for family in self.families)


Routes = Mapping[str, Route]
"""By topic."""


def routes(topics: Topics) -> Routes:
    """THE table: whoever consumes, probes or counts topics takes them from here. Each inlet that is on is a row."""
    rows = (Route(topic, families_of(inlet)) for inlet in Inlet if (topic := topics.of(inlet)))
    return {row.topic: row for row in rows if row.families}
