"""Invariant 5, of promotions: each is what its events say in the order in which they happened, worked out once more.

From docs/projections.md alone: one event after the other, where the worker keeps all of them in the document. Of one
that is over by now nobody can say whether the server has removed it, or nobody has made it again.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from bson.decimal128 import Decimal128

from tests.oracle.case import Case
from tests.oracle.finding import miscounted, unequal
from tests.oracle.reported import Event, at, details, moment, order, real
from tests.oracle.stored import Document

_SAID = (
    *("code", "name", "course_id", "discount_percentage", "amount", "currency"),
    *("starts_at", "expires_at"),
)
_SHOWN = 20


def promotion_documents(case: Case) -> Iterator[str]:
    """Every promotion that was created has one document until it is over, which shows what its events say."""
    streams = {
        stream: events
        for stream, events in case.stored.streams_of("promotions").items()
        if stream.startswith("promotion_")
    }
    wanted = {
        stream: shown
        for stream, events in streams.items()
        if (shown := expected_promotion(events)) is not None
    }
    documents = _stored(case)
    lasting = Counter(stream for stream, shown in wanted.items() if not _is_over(shown))
    over = {stream: 1 for stream, shown in wanted.items() if _is_over(shown)}
    found = Counter(str(each["stream_id"]) for each in documents)
    yield from miscounted("promotion", lasting, found, allowed=over)
    for document in documents:
        stream = document["stream_id"]
        if stream in wanted:
            subject = f"promotion {document['_id']}"
            if document["_id"] != ObjectId(stream.rpartition("_")[2]):
                yield f"{subject} is not where one looks for {stream}"
            if not _is_over(wanted[stream]):
                yield from unequal(subject, {"version": len(streams[stream])}, document)
            yield from unequal(subject, wanted[stream], document)


def expected_promotion(events: Sequence[Event]) -> Document | None:
    """What is said of a promotion after these events, None where it was never created."""
    said: Document = {}
    created: datetime | None = None
    ended: datetime | None = None
    updated: datetime | None = None
    refused: list[tuple[Event, str]] = []
    for event in sorted(real(events), key=order):
        kind, news = (
            event["event_type"],
            {name: details(event)[name] for name in _SAID if name in details(event)},
        )
        changed = _changed(said, news)
        if kind == "promotion_created" and created is not None:
            refused.append((event, "created_already"))
        elif kind == "promotion_created":
            said, created, updated = news, at(event), at(event)
        elif created is None or ended is not None:
            refused.append((event, "not_created" if created is None else "ended_already"))
        elif kind == "promotion_ended":
            ended = updated = at(event)
        elif _moment(changed, "starts_at") >= _moment(changed, "expires_at"):
            refused.append((event, "starts_after_its_end"))
        else:
            said, updated = changed, at(event)
    if created is None:
        return None
    until = _moment(said, "expires_at")
    course, amount = said.get("course_id"), said.get("amount")
    return {
        **{name: said.get(name) for name in ("code", "name", "discount_percentage", "currency")},
        "course_id": None if course is None else ObjectId(course),
        "amount": None if amount is None else Decimal128(amount),
        "starts_at": _moment(said, "starts_at"),
        "expires_at": until if ended is None else min(until, ended),
        "ended_at": ended,
        "created_at": created,
        "updated_at": updated,
        "without_effect": _without_effect(refused),
    }


def _changed(said: Mapping[str, Any], news: Mapping[str, Any]) -> Document:
    """What is named takes the place of what was said before; a discount of one kind that of the other."""
    changed = {**said, **news}
    if "discount_percentage" in news:
        changed |= {"amount": None, "currency": None}
    if "amount" in news:
        changed["discount_percentage"] = None
    return changed


def _moment(said: Mapping[str, Any], name: str) -> datetime:
    found = moment(said[name])
    assert found is not None
    return found


def _is_over(shown: Mapping[str, Any]) -> bool:
    expires: datetime = shown["expires_at"]
    return expires <= datetime.now(UTC)


def _stored(case: Case) -> Sequence[Document]:
    return [
        document
        for name, documents in case.stored.others.items()
        if name.endswith("_content.promotions")
        for document in documents
    ]


def _without_effect(refused: Sequence[tuple[Event, str]]) -> Document | None:
    if not refused:
        return None
    names = ("event_id", "event_type", "occurred_at", "reason")
    return {
        "total": len(refused),
        "reasons": dict(Counter(reason for _, reason in refused)),
        "latest": [
            dict(zip(names, (each["_id"], each["event_type"], at(each), reason), strict=True))
            for each, reason in refused[-_SHOWN:]
        ],
    }
