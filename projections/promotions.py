"""The `promotions` projection: a promotion's events become its document, which the server removes when it is over.

Events are taken in the order in which they happened, whatever came first. Rules: docs/projections.md, "Promotions".
"""

from bisect import insort
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from bson import ObjectId
from bson.decimal128 import Decimal128
from pydantic import BaseModel, ConfigDict, Field

from projections.event import StoredEvent, read_paths
from projections.kinds import Document, StreamProjection, Target
from projections.streams import IDENTITY_PATHS, StreamFold
from projections.without_effect import WithoutEffect, entry, without_effect
from worker.contract.times import parse_time

PROMOTIONS_VERSION: Final = 1
"""Goes up with every change of a rule or of the document: those of an older version are folded anew."""

REASONS: Final = ("created_already", "not_created", "ended_already", "starts_after_its_end")
"""Why an event has no effect: a closed set."""

_SAID: Final = (
    "code",
    "name",
    "course_id",
    "discount_percentage",
    "amount",
    "currency",
    "starts_at",
    "expires_at",
)
# Changed every week for ten years. One of more is somebody's mistake, and waits.
_MOST_STEPS: Final = 500


class Promotion(BaseModel):
    """`promotions`: a percentage, or an amount of a currency, from `starts_at` on; gone after `expires_at`.

    `course_id` null: for all courses. One that was ended before its time expires at that moment.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)

    id: ObjectId = Field(alias="_id")
    stream_id: Annotated[str, Field(min_length=1)]
    slot: Annotated[int, Field(ge=0, le=255)]
    version: Annotated[int, Field(ge=0)]
    projection_version: Annotated[int, Field(ge=1)]
    recorded_at: datetime
    rev: Annotated[int, Field(ge=0)]
    code: str
    name: str | None
    course_id: ObjectId | None
    discount_percentage: int | float | None
    amount: Decimal128 | None
    currency: str | None
    starts_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    created_at: datetime
    updated_at: datetime
    without_effect: WithoutEffect | None
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a promotion has come to."""

    said: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime | None = None
    updated_at: datetime | None = None
    ended_at: datetime | None = None


def _created(terms: _Terms, step: Mapping[str, Any]) -> _Terms | str:
    """The first word of it stands."""
    return "created_already" if terms.created_at else replace(terms, said=step["said"], created_at=step["at"])


def _changed(terms: _Terms, step: Mapping[str, Any]) -> _Terms | str:
    """What is named takes the place of what was there; a discount of one kind that of the other."""
    if terms.created_at is None or terms.ended_at is not None:
        return "ended_already" if terms.ended_at else "not_created"
    said = {**terms.said, **step["said"]}
    if "discount_percentage" in step["said"]:
        said |= {"amount": None, "currency": None}
    if "amount" in step["said"]:
        said["discount_percentage"] = None
    if parse_time(said["starts_at"]) >= parse_time(said["expires_at"]):
        return "starts_after_its_end"
    return replace(terms, said=said)


def _ended(terms: _Terms, step: Mapping[str, Any]) -> _Terms | str:
    """It is over."""
    if terms.created_at is None or terms.ended_at is not None:
        return "ended_already" if terms.ended_at else "not_created"
    return replace(terms, ended_at=step["at"])


_TAKE: Final[Mapping[str, Callable[[_Terms, Mapping[str, Any]], _Terms | str]]] = {
    "promotion_created": _created,
    "promotion_changed": _changed,
    "promotion_ended": _ended,
}


def _judged(steps: Iterable[Mapping[str, Any]]) -> tuple[_Terms, list[Document]]:
    """What the steps, in their order, have come to, and which of them have no effect."""
    terms, refused = _Terms(), []
    for step in steps:
        after = _TAKE[step["event_type"]](terms, step)
        if isinstance(after, str):
            refused.append(entry(step["event_id"], step["event_type"], step["at"], after))
        else:
            terms = replace(after, updated_at=step["at"])
    return terms, refused


def _opened(document: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"steps": list((document or {"state": {"steps": []}})["state"]["steps"])}


def _apply(state: dict[str, Any], event: StoredEvent) -> None:
    """Take an event in at its place. Raises ValueError for more than a promotion can have."""
    if event.event_type not in _TAKE:
        return
    if len(state["steps"]) >= _MOST_STEPS:
        raise ValueError("a promotion has too many events")
    step = {
        "event_id": event.event_id,
        "event_type": event.event_type,
        "at": event.occurred_at,
        "said": {name: event.details[name] for name in _SAID if name in event.details},
    }
    insort(state["steps"], step, key=_order)


def _order(step: Mapping[str, Any]) -> tuple[datetime, UUID]:
    return step["at"], step["event_id"]


def _shown(state: dict[str, Any]) -> Document:
    terms, refused = _judged(state["steps"])
    said = terms.said
    times = {
        name: None if name not in said else parse_time(said[name]) for name in ("starts_at", "expires_at")
    }
    course, amount, expires = said.get("course_id"), said.get("amount"), times["expires_at"]
    return {
        **{name: said.get(name) for name in ("code", "name", "discount_percentage", "currency")},
        "course_id": None if course is None else ObjectId(course),
        "amount": None if amount is None else Decimal128(amount),
        **times,
        "expires_at": expires if expires is None or terms.ended_at is None else min(expires, terms.ended_at),
        "ended_at": terms.ended_at,
        "created_at": terms.created_at,
        "updated_at": terms.updated_at,
        "without_effect": without_effect(refused),
        "state": state,
    }


def _begun(document: Mapping[str, Any]) -> bool:
    return document["created_at"] is not None


_FOLD: Final = StreamFold(PROMOTIONS_VERSION, _opened, _apply, _shown)

PROMOTIONS: Final = StreamProjection(
    name="promotions",
    version=PROMOTIONS_VERSION,
    about=("promotion",),
    target=Target(collection="promotions", shapes=(Promotion,)),
    paths=(
        *IDENTITY_PATHS,
        *_SAID,
        "ended_at",
        "created_at",
        "updated_at",
        "without_effect",
        "state",
    ),
    fold=_FOLD.fold,
    refold=_FOLD.refold,
    event_paths=read_paths(_SAID),
    begun=_begun,
    reasons=REASONS,
    expires="expires_at",
)
