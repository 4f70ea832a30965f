"""Values that only one document of a collection may have: the earliest claim has it, whatever came in which order.

A fold says what a document would have under `claims`, by field `{value, at, event_id}`; the field itself is written
by the contest. Of several claims to a value the earliest by (at, event_id) has it. The others are documents without
the field, until it becomes free. A document without `claims` is the platform's own: what it has it keeps.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from bson import ObjectId
from pydantic import BaseModel, ConfigDict

from projections.event import StoredEvent
from projections.kinds import Contest, Decided, contenders_target

CLAIMS = "claims"
TAKEN = "Taken"
"""Another document claimed the value first."""
HELD = "Held"
"""A document of the platform's own has the value."""

VERSION = 1
# Of 128 bits no two values ever have the same.
_DIGITS = 32

Documents = Sequence[Mapping[str, Any]]


class Claim(BaseModel):
    """What a document would have, and the event that asked for it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)

    value: str
    at: datetime
    event_id: UUID


def claim(value: str, event: StoredEvent) -> dict[str, Any]:
    """The claim of a value by an event."""
    return {"value": value, "at": event.occurred_at, "event_id": event.event_id}


def claims_contest(name: str, source: str, fields: Sequence[str]) -> Contest:
    """The contest for these fields of the documents of the stream projection `source`."""
    return Contest(
        name=name,
        version=VERSION,
        source=source,
        paths=tuple(fields),
        reads=(CLAIMS,),
        keys=_keys_of(fields),
        decide=_decision_on(fields),
        contenders=contenders_target(f"{name}_contenders"),
    )


def value_key(field: str, value: str) -> str:
    """Where all meet that have or claim a value: it does not tell which, for the value may be an address."""
    return f"{field}:{hashlib.sha256(value.encode()).hexdigest()[:_DIGITS]}"


def _keys_of(fields: Sequence[str]) -> Callable[[Mapping[str, Any]], Sequence[str]]:
    def keys(document: Mapping[str, Any]) -> Sequence[str]:
        return [value_key(field, value) for field in fields for value in _concerned(document, field)]

    return keys


def _concerned(document: Mapping[str, Any], field: str) -> Iterator[str]:
    """The values that a document claims, or has."""
    if (asked := _claim(document, field)) is not None:
        yield asked["value"]
    if isinstance(held := document.get(field), str):
        yield held


def _decision_on(fields: Sequence[str]) -> Callable[[Documents], Mapping[Any, Decided]]:
    def decide(documents: Documents) -> Mapping[Any, Decided]:
        ours = {document["_id"]: document for document in documents if _is_ours(document)}
        values: dict[Any, dict[str, str]] = {identity: {} for identity in ours}
        lost: dict[Any, dict[str, tuple[str, ObjectId]]] = {identity: {} for identity in ours}
        for field in fields:
            owners = _owners(documents, field)
            for identity, document in ours.items():
                if (asked := _claim(document, field)) is None:
                    continue
                reason, owner = owners[asked["value"]]
                if owner == identity:
                    values[identity][field] = asked["value"]
                else:
                    lost[identity][field] = reason, owner
        return {identity: _decided(values[identity], lost[identity]) for identity in ours}

    return decide


def _owners(documents: Documents, field: str) -> dict[str, tuple[str, Any]]:
    """Of each value who has it, and why nobody else does."""
    owners: dict[str, tuple[str, Any]] = {}
    asking = [document for document in documents if _claim(document, field) is not None]
    for document in sorted(asking, key=lambda each: _order(each, field)):
        owners.setdefault(document[CLAIMS][field]["value"], (TAKEN, document["_id"]))
    for document in documents:
        held = document.get(field)
        if not _is_ours(document) and isinstance(held, str):
            owners[held] = HELD, document["_id"]
    return owners


def _order(document: Mapping[str, Any], field: str) -> tuple[datetime, bytes, ObjectId]:
    """One event may not claim for two documents; if it ever does, their ids decide."""
    asked = document[CLAIMS][field]
    return asked["at"], asked["event_id"].bytes, document["_id"]


def _decided(values: Mapping[str, str], lost: Mapping[str, tuple[str, ObjectId]]) -> Decided:
    if not lost:
        return Decided(values)
    words = {
        TAKEN: "was claimed earlier by document {}",
        HELD: "is kept by document {}, which is the platform's",
    }
    message = "; ".join(
        f"its {field} {words[reason].format(owner)}" for field, (reason, owner) in lost.items()
    )
    return Decided(values, next(iter(lost.values()))[0], message)


def _is_ours(document: Mapping[str, Any]) -> bool:
    return isinstance(document.get(CLAIMS), Mapping)


def _claim(document: Mapping[str, Any], field: str) -> Mapping[str, Any] | None:
    """What a document asks for; KeyError or TypeError for what is no claim."""
    if not _is_ours(document) or document[CLAIMS].get(field) is None:
        return None
    asked: Mapping[str, Any] = document[CLAIMS][field]
    if not isinstance(asked["value"], str) or not isinstance(asked["at"], datetime):
        raise TypeError("no claim")
    if not isinstance(asked["event_id"], UUID):
        raise TypeError("no claim")
    return asked
