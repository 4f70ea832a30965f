"""The values that travel through retry: an item in hand, and what an attempt made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bson import ObjectId

ItemId = str | ObjectId

INTERRUPTED = "Interrupted"
"""`error_class` of an item whose processor ended before it could settle it; such items are tried alone."""


@dataclass(frozen=True, slots=True)
class Item:
    """One claimed item. It says that something is to be done for a key, never what: handlers read the truth.

    `attempt` counts this one, from 1. `occurrences` is how often a live step had met the failure at the claim.
    """

    id: ItemId
    event_type: str
    data: Mapping[str, Any]
    stream_id: str | None
    attempt: int
    occurrences: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed for the item's own content; `message` holds no values of it."""

    error_class: str
    message: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Postponed:
    """The attempt could not be made, for a reason that is not the item's: it does not count."""

    reason: str


Verdict = Failed | Postponed


class Handler(Protocol):
    """Does the work of one event type."""

    async def __call__(self, items: Sequence[Item]) -> Mapping[ItemId, Verdict]:
        """Verdicts of the items that are not done. Must be harmless to repeat, at any time, beside itself.

        Raises Retryable when a dependency is away: no attempt counts then.
        """
