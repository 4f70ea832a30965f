"""The items of `analytics_queue` that are the worker's: types and keys, one in hand, what an attempt made of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bson import ObjectId

from projections.kinds import Catalogue

PROGRESS_FOLD = "progress_fold"
"""A stream whose fold failed: `fold_type` of the projection."""
PROGRESS_UPDATED = "progress_updated"
"""The platform's own word for analytics work that is pending: compare the learner's documents, and put them right."""
COUNTS_FOLD = "counts_fold"
"""A learner, course or user that counting passes over."""
COUNTS_ROW = "counts_row"
"""A row of outbox or billing that the server refused; its learner is counted."""
NOTIFICATION_SEND = "notification_send"
"""A row of the outbox that cannot be read or changed."""

EVENT_TYPES = (PROGRESS_FOLD, PROGRESS_UPDATED, COUNTS_FOLD, COUNTS_ROW, NOTIFICATION_SEND)
"""Those of the platform's two projections; `event_types` has those of all."""

FROM_FIRST = "from_first_event"
"""In the `data` of an item about a stream: fold it from its first event, whatever its document says."""

OPEN = ("pending", "processing", "failed")
"""The states of an item that is not done."""

_NOTIFICATION = "notification:"


UNDECIDED = frozenset({"Undecided", "Unreadable", "Refused"})
"""Why nobody could decide a contest: any other `error_class` of its items is a decision, and no failure."""


def fold_type(projection: str) -> str:
    """The type of the items about streams or documents of which a projection can make nothing."""
    return f"{projection}_fold"


def further_types(catalogue: Catalogue) -> tuple[str, ...]:
    """The types of the items of further projections."""
    types = map(fold_type, catalogue.names)
    return tuple(each for each in types if each not in EVENT_TYPES)


def event_types(catalogue: Catalogue) -> tuple[str, ...]:
    """The types of the worker's items: those of all other types belong to somebody else."""
    return (*EVENT_TYPES, *further_types(catalogue))


def types_of(projections: Iterable[str]) -> frozenset[str]:
    """The types of all items that are about these projections."""
    further = {"progress": {PROGRESS_UPDATED}, "counts": {COUNTS_ROW}}
    return frozenset(each for name in projections for each in {fold_type(name), *further.get(name, ())})


def fold_item_id(stream: object, projection: str = "progress") -> str:
    """`_id` of the item of a stream or document of which a projection makes nothing: there is never a second one."""
    return f"{projection}:{stream}"


def counts_item_id(kind: object, identity: object) -> str:
    """`_id` of the item about a document that counting passes over, or about a row that the server refuses."""
    return f"counts:{kind}:{identity}"


def notification_item_id(key: str) -> str:
    """`_id` of the item about a row of the outbox that cannot be read or changed."""
    return f"{_NOTIFICATION}{key}"


def notification_of(item_id: object) -> str | None:
    """The row an item is about; None for an `_id` that is not one of notify's."""
    named = isinstance(item_id, str) and item_id.startswith(_NOTIFICATION)
    return str(item_id).removeprefix(_NOTIFICATION) if named else None


ItemId = str | ObjectId

INTERRUPTED = "Interrupted"
"""`error_class` of an item whose processor ended before it could write the outcome; such items are tried alone."""


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
    """The attempt failed for the item's own content; `message` holds no values of it.

    Of a stream: `version` is where it stands now, `data` which event that is.
    """

    error_class: str
    message: str
    version: int | None = None
    data: Mapping[str, Any] | None = None


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
