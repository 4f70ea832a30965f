"""What contests have in common: how a document contends, and what all documents get when all is decided afresh."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from projections.kinds import Contest, Decided, Entry

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# Moments before the epoch come first as well.
_OFFSET = 2**63


def order_of(at: datetime, event_id: UUID) -> bytes:
    """The place of an event in the order (occurred_at, event_id), as bytes that sort like it."""
    return ((at - _EPOCH) // _MILLISECOND + _OFFSET).to_bytes(8, "big") + event_id.bytes


def contending(contest: Contest, document: Mapping[str, Any]) -> Entry | None:
    """How a document contends; None where it meets nobody. Raises what its contest raises for what makes no sense."""
    keys = list(dict.fromkeys(contest.keys(document)))
    return {"keys": keys, "entry": contest.entry(document)} if keys else None


def decide_afresh(contest: Contest, documents: Iterable[Mapping[str, Any]]) -> dict[Any, Decided]:
    """What each document gets when nothing was decided before; the platform's own ones are left out."""
    some = {document["_id"]: document for document in documents}
    outcomes = contest.decide({}, {each: contending(contest, document) for each, document in some.items()})
    decided = {each: contest.given(document, outcomes.get(each)) for each, document in some.items()}
    return {each: one for each, one in decided.items() if one is not None}
