"""How the simulation spells an event: its id, its moment, and the record of it."""

from collections.abc import Mapping
from datetime import datetime
from random import Random
from typing import Any
from uuid import UUID

from worker.contract.codec import encode, record_key
from worker.devstack.simulator.script import Draft
from worker.kafka.files import OutgoingRecord


def new_event_id(random: Random) -> UUID:
    """An id of version 4, from a generator."""
    return UUID(int=random.getrandbits(128), version=4)


def rfc_3339(at: datetime) -> str:
    """A moment with milliseconds, as producers write it."""
    return at.isoformat(timespec="milliseconds")


def fields_of(draft: Draft, random: Random) -> dict[str, Any]:
    """A learner's event as its producer writes it, with an id from the generator."""
    event_id, occurred_at = str(new_event_id(random)), rfc_3339(draft.occurred_at)
    return {"event_id": event_id, "occurred_at": occurred_at, **draft.fields}


def record_of(fields: Mapping[str, Any]) -> OutgoingRecord:
    """The record of an event, with the key that the contract recommends."""
    value = encode(fields)
    return OutgoingRecord(value, record_key(value))
