"""The values a decoded record becomes: an accepted event, or a rejection with its reason."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from bson import ObjectId

from worker.contract.identity import stream_id


class Event(NamedTuple):
    """One learner event that keeps every rule of the contract, as the producer meant it.

    `occurred_at` is aware, UTC, whole milliseconds. `details` is the producer's object without free text;
    `text` is that free text (personal data, kept apart). `fingerprint` tells two records with
    one `event_id` apart, or finds them equal however they were written (see `fingerprint`).
    `schema_version` is the version after upcasting. A named tuple, because one is made of every record.
    """

    event_id: UUID
    event_type: str
    occurred_at: datetime
    user_id: ObjectId
    course_id: ObjectId
    fingerprint: bytes
    details: dict[str, Any]
    lesson_id: ObjectId | None = None
    producer: str | None = None
    session_id: str | None = None
    correlation_id: str | None = None
    device_type: str | None = None
    user_agent: str | None = None
    ip_address: str | None = None
    text: str | None = None
    value: int | float | None = None
    schema_version: int = 1

    @property
    def stream_id(self) -> str:
        """The learner's stream in one course: the unit of ordering, versions and folding."""
        return stream_id(self.course_id, self.user_id)


class RejectReason(StrEnum):
    """Why a record cannot be stored: a closed set, used as a metric label and in every dead letter."""

    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    DUPLICATE_KEY = "duplicate_key"
    NOT_FINITE = "not_finite"
    LONE_SURROGATE = "lone_surrogate"
    INTEGER_OUT_OF_RANGE = "integer_out_of_range"
    TOO_DEEP = "too_deep"
    UNSUPPORTED_VERSION = "unsupported_version"
    UNKNOWN_EVENT_TYPE = "unknown_event_type"
    UNKNOWN_FIELD = "unknown_field"
    MISSING_FIELD = "missing_field"
    INVALID_FIELD = "invalid_field"
    TIME_OUT_OF_RANGE = "time_out_of_range"
    DETAILS_TOO_LARGE = "details_too_large"
    DETAILS_TOO_DEEP = "details_too_deep"
    DETAILS_TOO_MANY_KEYS = "details_too_many_keys"
    DETAILS_BAD_KEY = "details_bad_key"
    CARD_NUMBER = "card_number"
    CONFLICT = "conflict"
    REFUSED_BY_STORE = "refused_by_store"
    UNDECODABLE = "undecodable"  # the record itself is broken: its bytes are kept as its batch holds them


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot be stored: the reason, the field where there is one, and a sentence for people.

    `message` never repeats the payload's values.
    """

    reason: RejectReason
    message: str
    field: str | None = None
