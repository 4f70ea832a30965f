"""The route table: what each topic carries and where it goes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from worker.contract.codec import Limits, decode
from worker.contract.event import Event, Rejected

Decode = Callable[[bytes, datetime, Limits], Event | Rejected]


@dataclass(frozen=True, slots=True)
class Route:
    """One topic: its family, how bytes become an event, the event's stream, whether the time series has it."""

    family: str
    decode: Decode
    stream: Callable[[Event], str]
    time_series: bool


def _decode_interaction(value: bytes, timestamp: datetime, limits: Limits) -> Event | Rejected:
    return decode(value, timestamp=timestamp, limits=limits)


def _learner_in_course(event: Event) -> str:
    return event.stream_id


def routes(interactions_topic: str) -> Mapping[str, Route]:
    """The table by topic name; content, account, billing and privacy topics become further rows."""
    return {
        interactions_topic: Route(
            family="interactions", decode=_decode_interaction, stream=_learner_in_course, time_series=True
        )
    }
