"""Records for the contract's tests: valid events to bend, and the codec with a fixed record time."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from worker.contract.codec import decode_event
from worker.contract.event import Event
from worker.contract.events.interactions import INTERACTIONS
from worker.contract.export import examples
from worker.contract.families import ALL_TYPES
from worker.contract.family import EventTypes
from worker.contract.limits import DEFAULT_LIMITS, Limits
from worker.contract.rejection import Rejected, RejectReason

RECORD_TIME = datetime(2024, 1, 15, 12, 0, tzinfo=UTC)
EXAMPLES = examples((INTERACTIONS,))
"""Of what learners do."""
ALL_EXAMPLES = examples()


def fields(event_type: str = "view", /, **changes: Any) -> dict[str, Any]:
    """The valid example of a type, with fields set to other values."""
    return {**ALL_EXAMPLES[event_type], **changes}


def without(event_type: str, *names: str) -> dict[str, Any]:
    return {name: value for name, value in ALL_EXAMPLES[event_type].items() if name not in names}


def with_details(event_type: str, /, **changes: Any) -> dict[str, Any]:
    """The valid example of a type, with keys of `details` set to other values."""
    return fields(event_type, details={**ALL_EXAMPLES[event_type].get("details", {}), **changes})


def decoded(
    record: Mapping[str, Any] | str | bytes,
    *,
    limits: Limits = DEFAULT_LIMITS,
    timestamp: datetime = RECORD_TIME,
    types: EventTypes = ALL_TYPES,
) -> Event | Rejected:
    if isinstance(record, Mapping):
        record = json.dumps(record)
    if isinstance(record, str):
        record = record.encode()
    return decode_event(record, timestamp=timestamp, limits=limits, types=types)


def accepted(record: Mapping[str, Any] | str | bytes, **arguments: Any) -> Event:
    event = decoded(record, **arguments)
    assert isinstance(event, Event), event
    return event


def refused(record: Mapping[str, Any] | str | bytes, **arguments: Any) -> tuple[RejectReason, str | None]:
    """Why a record is refused, and at which field."""
    rejected = decoded(record, **arguments)
    assert isinstance(rejected, Rejected), rejected
    return rejected.reason, rejected.field
