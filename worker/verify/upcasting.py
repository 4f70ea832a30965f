"""Whether the contract of this code can read a stored event: as a record that comes again, and as folds do. Pure.

Both readers go through one chain of upcasters. An event whose chain raises, or ends in what the contract refuses,
would stop its learner's next fold; one that the two read differently would be two events.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from projections.event import OWN_TYPES, READ_PATHS, StoredEvent, upcast_document
from worker.contract.codec import decode_event
from worker.contract.event import Event
from worker.contract.families import FAMILIES
from worker.contract.family import LEARNER, EventTypes, Family
from worker.contract.fingerprint import record_of
from worker.contract.identity import stream_kind
from worker.contract.limits import DEFAULT_LIMITS
from worker.contract.spelling import with_times_respelt
from worker.contract.upcasters import UPCASTERS, Upcasters, newest_version
from worker.storage.driver import Document

# How far an event may lie ahead was asked when it came, by the settings of then.
_LIMITS: Final = replace(DEFAULT_LIMITS, max_future=timedelta.max)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ALL_DETAILS: Final = "event_data.details"
_DETAILS: Final = f"{_ALL_DETAILS}."
# As types are named; anything else could be anybody's text, and is not shown.
_TYPE: Final = re.compile(r"[a-z][a-z0-9_.]{0,63}")
_UNKNOWN: Final = "(unknown)"
_COMPARED: Final = ("event_type", "user_id", "course_id", "lesson_id", "ids", "session_id", "value")


@dataclass(frozen=True, slots=True)
class Contract:
    """What events are read by. `event_paths` are those of each fold, by the kind of its streams."""

    families: Sequence[Family] = FAMILIES
    upcasters: Upcasters = field(default_factory=lambda: UPCASTERS)
    event_paths: Mapping[tuple[str, ...] | None, Sequence[Sequence[str]]] = field(
        default_factory=lambda: {LEARNER: (READ_PATHS,)}
    )


@dataclass(frozen=True, slots=True)
class Sort:
    """Events of one family, type and `schema_version`, as they are stored."""

    family: str
    event_type: str
    version: int


UNREADABLE: Final = Sort(_UNKNOWN, _UNKNOWN, 0)
"""An event of which nothing can be said."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an event cannot be read. `reason` is that of a rejection or one of this module; no values anywhere."""

    reason: str
    field: str = ""
    message: str = ""


def sort_of(document: Mapping[str, Any], contract: Contract) -> Sort:
    """Which events it is one of, as far as it says so."""
    kind, version = document.get("event_type"), document.get("schema_version")
    names = [family.name for family in _families_of(document, contract)]
    return Sort(
        names[0] if names else _UNKNOWN,
        kind if isinstance(kind, str) and _TYPE.fullmatch(kind) else _UNKNOWN,
        version if isinstance(version, int) and not isinstance(version, bool) else 0,
    )


def is_checked(document: Mapping[str, Any]) -> bool:
    """False for the worker's own events, which have no contract, and for those whose personal fields are sealed."""
    return document.get("event_type") not in OWN_TYPES and document.get("key_id") is None


def problem_of(document: Document, contract: Contract) -> Problem | None:
    """What would fail when this event is read; None for one that everybody can read, and reads alike.

    1. as its record would be decoded again  2. as folds read it  3. both alike  4. with what folds read of it
    """
    # 1.
    event = _decoded(document, contract)
    if isinstance(event, Problem):
        return event
    if document["schema_version"] == newest_version(contract.upcasters):
        return None
    # 2.
    try:
        stored = StoredEvent.from_document(upcast_document(document, contract.upcasters))
    except Exception as error:  # whatever an upcaster raises for what is stored
        return Problem("upcaster_raised", message=f"{type(error).__name__} for the event as it is stored")
    # 3.
    if names := _differing(event, stored):
        message = "the upcasters make another event of what is stored than of its record"
        return Problem("readers_disagree", ", ".join(names), message)
    # 4.
    read = contract.event_paths.get(stream_kind(stored.stream_id), ())
    return next(filter(None, (_unread(document, stored, paths, contract) for paths in read)), None)


def _decoded(document: Document, contract: Contract) -> Event | Problem:
    record = record_of(document)
    if record is None:
        return Problem("not_an_event", message="its fields do not make an event of any contract")
    recorded_at = document.get("recorded_at")
    at = recorded_at if isinstance(recorded_at, datetime) else _EPOCH
    families = tuple(_families_of(document, contract))
    if not families:
        return Problem("unknown_family", message="no family has streams of this kind")
    types = _types_of(families)
    try:
        found = decode_event(record, timestamp=at, limits=_LIMITS, upcasters=contract.upcasters, types=types)
    except Exception as error:  # whatever an upcaster raises
        return Problem("upcaster_raised", message=f"{type(error).__name__} for the event's record")
    if isinstance(found, Event):
        return found
    return Problem(str(found.reason), found.field or "", found.message)


@lru_cache(maxsize=64)
def _types_of(families: tuple[Family, ...]) -> EventTypes:
    """The same few for all events."""
    return EventTypes(families)


def _families_of(document: Mapping[str, Any], contract: Contract) -> list[Family]:
    """Those with streams of this kind; the one that knows the type comes first."""
    about = stream_kind(str(document.get("stream_id")))
    known = [family for family in contract.families if family.about == about]
    return sorted(known, key=lambda family: document.get("event_type") not in family.events)


def _differing(event: Event, stored: StoredEvent) -> list[str]:
    """What the two readers do not see alike."""
    names = [name for name in _COMPARED if getattr(event, name) != getattr(stored, name)]
    names += ["details.text"] if event.text != stored.text else []
    details = with_times_respelt(stored.event_type, stored.details)
    return names + [
        f"details.{name}" for name in _unequal({**event.details, **(event.personal or {})}, details)
    ]


def _unread(
    document: Document, stored: StoredEvent, paths: Sequence[str], contract: Contract
) -> Problem | None:
    """Folds read some details only: what they then make of the event must be what all of it says."""
    names = {path.removeprefix(_DETAILS).partition(".")[0] for path in paths if path.startswith(_DETAILS)}
    if _ALL_DETAILS in paths:
        names |= stored.details.keys()
    try:
        read = StoredEvent.from_document(upcast_document(_only(document, paths), contract.upcasters))
    except Exception as error:  # an upcaster that misses what is not read
        return Problem("folds_read_less", message=f"{type(error).__name__} with the details that folds read")
    missed = [name for name in _COMPARED if getattr(read, name) != getattr(stored, name)]
    missed += [f"details.{name}" for name in _unequal(read.details, stored.details) if name in names]
    if not missed:
        return None
    message = "an upcaster needs details that folds do not read: name them in DETAILS_READ"
    return Problem("folds_read_less", ", ".join(missed), message)


def _unequal(some: Mapping[str, Any], others: Mapping[str, Any]) -> list[str]:
    names = sorted({*some, *others})
    return [name for name in names if name not in some or name not in others or some[name] != others[name]]


def _only(document: Document, paths: Iterable[str]) -> Document:
    """The document as the server would give it for these paths."""
    found: Document = {"_id": document["_id"]}
    for path in (*paths, "personal"):
        at, into = document, found
        *outer, last = path.split(".")
        for name in outer:
            inner = at.get(name)
            at, into = inner if isinstance(inner, dict) else {}, into.setdefault(name, {})
        if last in at:
            into[last] = at[last]
    return found
