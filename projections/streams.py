"""How the events of one stream are folded into one document, whatever they are about."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from projections.event import StoredEvent
from projections.kinds import By, Document
from worker.contract.identity import stream_slot

IDENTITY_PATHS = ("stream_id", "slot", "version", "projection_version", "recorded_at")
"""What a document says of its stream, and of how far and by which fold it was made."""


@dataclass(frozen=True, slots=True)
class StreamFold:
    """`fold` and `refold` of a `StreamProjection`, made of three functions.

    `opened` makes of a document of this version, or of None for a new stream, a state to fold on, which shares no
    container that `apply` changes; `apply` takes an event that is no void into the state; `shown` gives all fields of
    the document but those of `IDENTITY_PATHS`. A field without a value is null there, never left out. `version` goes
    up with every change of the three.
    """

    version: int
    opened: Callable[[Mapping[str, Any] | None], dict[str, Any]]
    apply: Callable[[dict[str, Any], StoredEvent], None]
    shown: Callable[[dict[str, Any]], Document]

    def fold(self, current: Mapping[str, Any] | None, events: Sequence[StoredEvent], by: By) -> Document:
        """See `projections.kinds.Fold`. Raises ValueError for events that do not follow `current`."""
        if current is not None and current["projection_version"] != self.version:
            made_by = current["projection_version"]
            raise ValueError(f"document of projection version {made_by} must be folded anew")
        return self._fold(current, events)

    def refold(self, events: Sequence[StoredEvent], keep: Mapping[str, Any] | None, by: By) -> Document:
        """See `projections.kinds.Refold`. Nothing is kept."""
        return self._fold(None, events)

    def _fold(self, current: Mapping[str, Any] | None, events: Sequence[StoredEvent]) -> Document:
        if current is None and not events:
            raise ValueError("a stream without events has no document")
        stream = events[0].stream_id if current is None else current["stream_id"]
        version = 0 if current is None else current["version"]
        recorded_at = events[0].recorded_at if current is None else current["recorded_at"]
        state = self.opened(current)
        for event in events:
            version += 1
            if event.version != version or event.stream_id != stream:
                raise ValueError(f"expected version {version} of {stream}, got {event.version}")
            recorded_at = max(recorded_at, event.recorded_at)
            if not event.is_void:
                self.apply(state, event)
        return {
            "stream_id": stream,
            "slot": stream_slot(stream),
            "version": version,
            "projection_version": self.version,
            "recorded_at": recorded_at,
            **self.shown(state),
        }
