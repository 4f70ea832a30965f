"""Values that only one document of a collection may have: the earliest claim has it, whatever came in which order.

A fold says what a document would have under `claims`, by field `{value, at, event_id}`; the field itself is written
by the contest. Of several claims to a value the earliest by (at, event_id) has it. The others are documents without
the field, until it becomes free. A document without `claims` is the platform's own: what it has it keeps.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from bson import ObjectId
from pydantic import BaseModel, ConfigDict

from projections.contests import order_of
from projections.event import StoredEvent
from projections.kinds import Contest, Decided, EarliestClaim, Entry, contenders_target

CLAIMS = "claims"
TAKEN = "Taken"
"""Another document claimed the value first."""
HELD = "Held"
"""A document of the platform's own has the value."""

T = TypeVar("T")

VERSION = 2
# Of 128 bits no two values ever have the same.
_DIGITS = 32


class Claim(BaseModel):
    """What a document would have, and the event that asked for it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)

    value: str
    at: datetime
    event_id: UUID


def claim(value: str, event: StoredEvent) -> dict[str, Any]:
    """The claim of a value by an event."""
    return {"value": value, "at": event.occurred_at, "event_id": event.event_id}


# A document hardly ever claims another value, but some platforms say the same one again with whatever they save.
LAST_CLAIMS: Final = 200


def told_apart(said: list[T], value: Callable[[T], Any]) -> list[T]:
    """Of what a document has claimed, in its order, what is kept to tell since when it has claimed the present value.

    That are the last ones, and of those before them the first one, and the last with another value than the present
    one. So what was always called so has claimed it since the first time, however often it says so. What is kept
    depends on all that was said, and on no order in which it came.
    """
    before, last = said[:-LAST_CLAIMS], said[-LAST_CLAIMS:]
    if not before:
        return last
    present = value(last[-1])
    others = [] if any(value(each) != present for each in last) else before
    other = next((each for each in reversed(others) if value(each) != present), before[0])
    return [before[0], *([other] if other is not before[0] else []), *last]


def claims_contest(name: str, source: str, fields: Sequence[str]) -> Contest:
    """The contest for these fields of the documents of the stream projection `source`."""
    return Contest(
        name=name,
        version=VERSION,
        source=source,
        paths=tuple(fields),
        reads=(CLAIMS,),
        rule=EarliestClaim(),
        keys=_keys_of(fields),
        entry=_entry_of(fields),
        decide=decide,
        given=_given_to(fields),
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
    """The values that a document claims, or has; an empty text of the platform's own is in nobody's way."""
    if (asked := _claim(document, field)) is not None:
        yield asked["value"]
    if isinstance(held := document.get(field), str) and (held or _is_ours(document)):
        yield held


def _entry_of(fields: Sequence[str]) -> Callable[[Mapping[str, Any]], Any]:
    def entry(document: Mapping[str, Any]) -> dict[str, Any]:
        """By field the key of the value, and the place of its claim; None for what the platform's own has."""
        found: dict[str, Any] = {}
        for field in fields:
            asked, held = _claim(document, field), document.get(field)
            if asked is not None:
                order = order_of(asked["at"], asked["event_id"])
                found[field] = {"key": value_key(field, asked["value"]), "order": order}
            elif not _is_ours(document) and isinstance(held, str) and held:
                found[field] = {"key": value_key(field, held), "order": None}
        return found

    return entry


def decide(
    known: Mapping[ObjectId, Entry], changed: Mapping[ObjectId, Entry | None]
) -> Mapping[ObjectId, Any]:
    """Of each that claims, by field, why it has not what it claims, and who has it; where somebody moved."""
    moved = [known[each] for each in changed if each in known]
    moved += [one for one in changed.values() if one is not None]
    asking: dict[str, list[tuple[bool, bytes, ObjectId]]] = {
        wanted["key"]: [] for one in moved for wanted in one["entry"].values()
    }
    present = {each: one for each, one in {**known, **changed}.items() if one is not None}
    concerned = {each for each, one in changed.items() if one is not None}
    for each, one in present.items():
        for wanted in one["entry"].values():
            if (some := asking.get(wanted["key"])) is not None:
                order = wanted["order"]
                some.append((order is not None, order or b"", each))
                concerned.add(each)
    # The platform's own comes first. One event may not claim for two documents; if it does, their ids decide.
    owners = {key: min(some) for key, some in asking.items() if some}
    return {each: _lost(each, present[each], owners) for each in concerned}


def _lost(
    identity: ObjectId, one: Entry, owners: Mapping[str, tuple[bool, bytes, ObjectId]]
) -> dict[str, Any]:
    """What was decided before of values that nobody has moved at stands."""
    before = one.get("outcome") or {}
    lost: dict[str, Any] = {}
    for field, wanted in one["entry"].items():
        if (owner := owners.get(wanted["key"])) is None:
            if field in before:
                lost[field] = before[field]
        elif owner[2] != identity:
            lost[field] = [TAKEN if owner[0] else HELD, owner[2]]
    return lost


def _given_to(fields: Sequence[str]) -> Callable[[Mapping[str, Any], Any], Decided | None]:
    def given(document: Mapping[str, Any], outcome: Any) -> Decided | None:
        if not _is_ours(document):
            return None
        lost = outcome or {}
        asked = {field: _claim(document, field) for field in fields}
        values = {
            field: claimed["value"]
            for field, claimed in asked.items()
            if claimed is not None and field not in lost
        }
        return _decided(values, {field: lost[field] for field in fields if field in lost})

    return given


def _decided(values: Mapping[str, str], lost: Mapping[str, Sequence[Any]]) -> Decided:
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
