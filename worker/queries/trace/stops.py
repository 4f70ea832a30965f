"""What a trace says: at each stop of an event's way whether it is there, since when, and if not, why not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from worker.storage.database import Document

State = Literal["there", "not there", "waits", "not known"]
THERE: Final = "there"
NOT_THERE: Final = "not there"
WAITS: Final = "waits"
NOT_KNOWN: Final = "not known"


@dataclass(frozen=True, slots=True)
class Stop:
    """One place an event comes to, or does not: `what` names the record or document, `detail` says why not."""

    place: str
    state: State
    at: datetime | None
    what: str
    detail: str


@dataclass(slots=True)
class Trace:
    """The stops of one event in the order of its way; `stream` and `version` are those it was stored under.

    `trace_id` is that of the W3C trace context its record came with, where it had one.
    """

    asked: str
    event_id: str | None = None
    stream: str | None = None
    version: int | None = None
    trace_id: str | None = None
    stops: list[Stop] = field(default_factory=list)

    @property
    def found(self) -> bool:
        """Whether anything knows of the event."""
        return any(stop.state == THERE for stop in self.stops)

    def add(self, place: str, state: State, what: object, detail: str = "", at: Any = None) -> None:
        """One more stop."""
        when = at if isinstance(at, datetime) else None
        self.stops.append(Stop(place, state, when, "" if what is None else str(what), detail))


Items = Mapping[str, Document]
"""Open items of the queue about the event's stream and rows, by id."""


def waiting_for(items: Items, item_id: str, otherwise: str) -> tuple[State, str]:
    """Why something is not there: the item of the queue that says so, or else what comes next."""
    item = items.get(item_id)
    if item is None:
        return WAITS, otherwise
    since, why = item.get("created_at"), item.get("last_error") or item.get("error_class")
    at = f" at version {item['version']}" if item.get("version") is not None else ""
    when = f" since {since.isoformat()}" if isinstance(since, datetime) else ""
    return NOT_THERE, f"quarantined{at}{when}: {why} (queue item {item_id}, {item.get('status')})"
