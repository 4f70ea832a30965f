"""Events that are wrong only beside other events of their stream: they have no effect, and the document says why.

Of an event that says several things it may be one of them alone that has none: its reason tells which.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from projections.event import StoredEvent

SHOWN = 20
"""Enough to see what goes wrong; the total is complete."""


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


class RefusedEvent(_Shape):
    """One event of which something, or all, has no effect; the reason is a word of its projection's `reasons`."""

    event_id: UUID
    event_type: str
    occurred_at: datetime
    reason: str


class WithoutEffect(_Shape):
    """How many there are of each reason, and the latest of them by (occurred_at, event_id)."""

    total: Annotated[int, Field(ge=1)]
    reasons: dict[str, int]
    latest: list[RefusedEvent]


def refused_event(event: StoredEvent, reason: str) -> dict[str, Any]:
    """The entry of an event."""
    return entry(event.event_id, event.event_type, event.occurred_at, reason)


def entry(event_id: UUID, event_type: str, occurred_at: datetime, reason: str) -> dict[str, Any]:
    """The entry of an event of which no more is known than this."""
    return {"event_id": event_id, "event_type": event_type, "occurred_at": occurred_at, "reason": reason}


def without_effect(
    refused: Iterable[Mapping[str, Any]],
    *,
    beyond: Sequence[Mapping[str, Any]] = (),
    beyond_total: int = 0,
) -> dict[str, Any] | None:
    """What the document says in `without_effect` of all refused events, in any order; None where there are none.

    `beyond` are the latest, `SHOWN` at most, of further ones that are all refused for one reason, `beyond_total` of
    them, for a fold that keeps no more of these.
    """
    named = list(refused)
    ordered = sorted([*named, *beyond], key=lambda each: (each["occurred_at"], each["event_id"]))
    if not ordered:
        return None
    reasons = Counter(each["reason"] for each in named)
    if beyond:
        reasons[beyond[-1]["reason"]] += beyond_total
    return {
        "total": reasons.total(),
        "reasons": dict(sorted(reasons.items())),
        "latest": [dict(each) for each in ordered[-SHOWN:]],
    }


def refused_by_reason(document: Mapping[str, Any] | None) -> Mapping[str, int]:
    """How many events of the stream have no effect, by reason; of a document that somebody else may have changed."""
    said = (document or {}).get("without_effect")
    reasons = said.get("reasons") if isinstance(said, Mapping) else None
    known = reasons if isinstance(reasons, Mapping) else {}
    return {reason: count for reason, count in known.items() if isinstance(count, int)}
