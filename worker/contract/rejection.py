"""Why a record cannot be stored: a closed set of reasons, and one rejection as a value."""

from dataclasses import dataclass
from enum import StrEnum


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
    FORBIDDEN_FIELD = "forbidden_field"
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
