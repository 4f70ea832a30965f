"""The route table: what each topic carries and where it goes."""

from collections.abc import Mapping
from dataclasses import dataclass

from worker.contract.families import INTERACTIONS, Family
from worker.contract.formats import Format


@dataclass(frozen=True, slots=True)
class Route:
    """One topic: the family of its events, the foreign formats they may come in, whether the time series has them.

    The stream of an event, and which ids it needs, follow from the family. The time series is about learners: only
    events with a `user_id` can have a row.
    """

    topic: str
    family: Family
    formats: tuple[Format, ...] = ()
    time_series: bool = False


Routes = Mapping[str, Route]
"""By topic."""


def routes(interactions_topic: str) -> Routes:
    """THE table: whoever consumes, probes or counts topics takes them from here. A further topic is a further row."""
    rows = (Route(interactions_topic, INTERACTIONS, time_series=True),)
    return {row.topic: row for row in rows}
