"""Invariant 5, of promotions: each is what its events say in the order in which they happened, worked out once more.

From docs/projections.md alone: one event after the other, where the worker keeps all of them in the document. Of one
that is over by now nobody can say whether the server has removed it, or nobody has made it again.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from bson.decimal128 import Decimal128

from tests.oracle.case import Case
from tests.oracle.projected import document_differences
from tests.oracle.reported import Event, at, details, moment, order, real, without_effect
from tests.oracle.stored import Document

_TERMS = (
    *("code", "name", "course_id", "discount_percentage", "amount", "currency"),
    *("starts_at", "expires_at"),
)


def promotion_documents(case: Case) -> Iterator[str]:
    """Every promotion that was created has one document until it is over, which shows what its events say."""
    streams = {
        stream: events
        for stream, events in case.stored.streams_of("promotions").items()
        if stream.startswith("promotion_")
    }
    wanted = {stream: shown for stream, events in streams.items() if (shown := expected_promotion(events))}
    over = {stream for stream, shown in wanted.items() if _is_over(shown)}
    documents = case.stored.content("promotions")
    yield from document_differences("promotion", streams, wanted, documents, may_be_gone=over)


def expected_promotion(events: Sequence[Event]) -> Document | None:
    """What a promotion is after these events, None where it was never created."""
    terms: Document = {}
    created: datetime | None = None
    ended: datetime | None = None
    updated: datetime | None = None
    refused: list[tuple[Event, str]] = []
    for event in sorted(real(events), key=order):
        kind, told = event["event_type"], details(event)
        news = {name: told[name] for name in _TERMS if name in told}
        changed = _changed(terms, news)
        if kind == "promotion_created" and created is not None:
            refused.append((event, "created_already"))
        elif kind == "promotion_created":
            terms, created, updated = news, at(event), at(event)
        elif created is None or ended is not None:
            refused.append((event, "not_created" if created is None else "ended_already"))
        elif kind == "promotion_ended":
            ended = updated = at(event)
        elif _moment(changed, "starts_at") >= _moment(changed, "expires_at"):
            refused.append((event, "starts_after_its_end"))
        else:
            terms, updated = changed, at(event)
    if created is None:
        return None
    until = _moment(terms, "expires_at")
    course, amount = terms.get("course_id"), terms.get("amount")
    return {
        **{name: terms.get(name) for name in ("code", "name", "discount_percentage", "currency")},
        "course_id": None if course is None else ObjectId(course),
        "amount": None if amount is None else Decimal128(amount),
        "starts_at": _moment(terms, "starts_at"),
        "expires_at": until if ended is None else min(until, ended),
        "ended_at": ended,
        "created_at": created,
        "updated_at": updated,
        "without_effect": without_effect(refused),
    }


def _changed(terms: Mapping[str, Any], news: Mapping[str, Any]) -> Document:
    """What is named takes the place of what stood before; a discount of one kind that of the other."""
    changed = {**terms, **news}
    if "discount_percentage" in news:
        changed |= {"amount": None, "currency": None}
    if "amount" in news:
        changed["discount_percentage"] = None
    return changed


def _moment(terms: Mapping[str, Any], name: str) -> datetime:
    found = moment(terms[name])
    assert found is not None
    return found


def _is_over(shown: Mapping[str, Any]) -> bool:
    expires: datetime = shown["expires_at"]
    return expires <= datetime.now(UTC)
