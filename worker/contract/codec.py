"""The border: bytes of a Kafka record to an `Event` or a `Rejected`, and a producer's fields to bytes.

Three rules worth knowing before reading:

- The fingerprint is taken of the event, not of its spelling (see `fingerprint`): a record written in another
  way is the same event.
- The size of `details` is that of its compact JSON, so a record of at most that size never fails the limit.
- Messages and field names of a rejection never repeat a value of the payload.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import orjson
from bson import ObjectId
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from worker.contract.event import NO_IDS, Event
from worker.contract.families import ALL_TYPES, LEARNER_TYPES
from worker.contract.family import LEARNER, EventTypes, Family
from worker.contract.fingerprint import of_record
from worker.contract.formats import Headers
from worker.contract.identity import foreign_object_id
from worker.contract.json_reader import read_object
from worker.contract.limits import DEFAULT_LIMITS, Limits
from worker.contract.models import Envelope
from worker.contract.personal import take_personal
from worker.contract.rejection import Rejected, RejectReason
from worker.contract.routes import Route
from worker.contract.secrets import secret_in
from worker.contract.spelling import respelt
from worker.contract.upcasters import UPCASTERS, Upcasters, newest_version, oldest_version, upcast
from worker.mistakes import words_for

# Longer names come from broken or hostile producers; a dead letter needs no more to recognise the field.
_MAX_FIELD_NAME: Final = 100
# Stands for the name of a field that could say who somebody is.
_UNNAMED: Final = "*"

_OBJECT_ID: Final = re.compile(r"[0-9a-fA-F]{24}")
# `1e15` is written as 1000000000000000.0, and no number grows more.
_LONGER: Final = 5
_NESTING: Final = (dict, list)
_REASONS: Final = {
    "missing": RejectReason.MISSING_FIELD,
    "extra_forbidden": RejectReason.UNKNOWN_FIELD,
    **{reason.value: reason for reason in RejectReason},
}


def decode(
    value: bytes, *, timestamp: datetime, route: Route, headers: Headers = (), limits: Limits = DEFAULT_LIMITS
) -> Sequence[Event | Rejected]:
    """What a record's value holds: each event, or why there is none in its place; never raises, whatever the bytes.

    A record in the contract's own format holds one event; one in a foreign format of the `route` may hold several,
    or none. `timestamp` is the record's Kafka timestamp (aware). `limits` hold for the record and for each event,
    unless the family has its own.
    """
    types = route.types
    for known in route.formats:
        max_bytes = types.max_record_bytes or limits.max_record_bytes
        if len(value) <= max_bytes and known.recognises(headers, value):
            return [
                event
                if isinstance(event, Rejected)
                else decode_event(event, timestamp=timestamp, limits=limits, types=types)
                for event in known.translate(value)
            ]
    return (decode_event(value, timestamp=timestamp, limits=limits, types=types),)


def decode_event(
    value: bytes,
    *,
    timestamp: datetime,
    limits: Limits = DEFAULT_LIMITS,
    upcasters: Upcasters = UPCASTERS,
    types: EventTypes = LEARNER_TYPES,
) -> Event | Rejected:
    """The event in JSON of the contract, or why there is none; never raises, whatever the bytes.

    1 read strict JSON  2 upcast  3 validate by type  4 limits of `details`  5 time  6 build the event
    """
    # 1 read
    if len(value) > (max_bytes := types.max_record_bytes or limits.max_record_bytes):
        return _too_large(max_bytes)
    written = read_object(value)
    if isinstance(written, Rejected):
        return written
    # 2 upcast
    current = _upcast(written.fields, upcasters)
    if isinstance(current, Rejected):
        return current
    # 3 validate
    valid = _validate(current, types)
    if isinstance(valid, Rejected):
        return valid
    family, model = valid
    # 4 limits
    details, bounds = current.get("details") or {}, family.limits or limits
    if broken := _broken_limit(details, len(value), bounds):
        return broken
    spelt = respelt(model.event_type, details)
    if spelt is not details:
        current = {**current, "details": spelt}
    # 5 time
    if model.occurred_at - timestamp > limits.max_future:
        return Rejected(
            RejectReason.TIME_OUT_OF_RANGE, "lies too far ahead of the record's own time", "occurred_at"
        )
    # 6 build
    canonical = written.canonical if current is written.fields else None
    digest = of_record(current, model, canonical, family.further_ids)
    return _event(model, current, spelt, digest, family)


def encode(fields: Mapping[str, Any]) -> bytes:
    """A producer's fields as canonical compact JSON.

    UUIDs, ObjectIds and aware datetimes may stand as they are. Raises TypeError for what JSON cannot hold.
    Validates nothing; `decode` does.
    """
    return orjson.dumps(dict(fields), default=_encode_object_id, option=orjson.OPT_SORT_KEYS)


def record_key(value: bytes) -> bytes | None:
    """The recommended record key of an encoded event: the ids that its stream is about; None if it cannot be read.

    `<course_id>:<user_id>` of what a learner did, `<promotion_id>` of what happened to a promotion.
    """
    about = _about(value)
    return None if about is None else ":".join(about.values()).encode()


def stream_of(value: bytes) -> str | None:
    """The stream that an encoded event is in, valid or not; None where that cannot be read."""
    about = _about(value)
    return None if about is None else "_".join(f"{entity}_{each}" for entity, each in about.items())


def family_of(value: bytes) -> Family | None:
    """The family of an encoded event, valid or not, by its type; None for none of ours."""
    fields = _fields_in(value)
    return None if fields is None else _family_in(fields)


def _about(value: bytes) -> Mapping[str, str] | None:
    """The entities that the stream of an encoded event is about, with their ids; of an unknown type a learner's."""
    fields = _fields_in(value)
    if fields is None:
        return None
    family = _family_in(fields)
    entities = LEARNER if family is None else family.about
    ids = _ids_about(fields, family) if family else [fields.get(f"{entity}_id") for entity in entities]
    if not all(isinstance(part, str) and _OBJECT_ID.fullmatch(part) for part in ids):
        return None
    return {entity: str(part).lower() for entity, part in zip(entities, ids, strict=True)}


def _fields_in(value: bytes) -> dict[str, Any] | None:
    try:
        fields = orjson.loads(value)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _family_in(fields: Mapping[str, Any]) -> Family | None:
    event_type = fields.get("event_type")
    return ALL_TYPES.by_name.get(event_type) if isinstance(event_type, str) else None


def _ids_about(fields: Mapping[str, Any], family: Family) -> list[Any]:
    """The ids of the entities that the stream of an event is about, as far as it has them."""
    details = fields.get("details")
    known = details if isinstance(details, dict) else {}
    found: list[Any] = []
    for entity in family.about:
        key = family.derived.get(entity)
        original = known.get(key) if key else None
        derived = str(foreign_object_id(original)) if isinstance(original, str) else None
        found.append(derived if key else fields.get(f"{entity}_id"))
    return found


def _encode_object_id(value: Any) -> str:
    if isinstance(value, ObjectId):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _upcast(fields: dict[str, Any], upcasters: Upcasters) -> dict[str, Any] | Rejected:
    newest = newest_version(upcasters)
    version = fields.get("schema_version", 1)
    if type(version) is float and version.is_integer():
        version = int(version)
        fields = {**fields, "schema_version": version}
    if type(version) is not int or version < 0:
        return Rejected(RejectReason.INVALID_FIELD, "must be a whole number", "schema_version")
    if version == newest:
        return fields
    if not oldest_version(upcasters) <= version <= newest:
        return Rejected(
            RejectReason.UNSUPPORTED_VERSION, f"this worker reads versions up to {newest}", "schema_version"
        )
    return {**upcast(fields, version, upcasters), "schema_version": newest}


def _too_large(max_bytes: int) -> Rejected:
    return Rejected(RejectReason.TOO_LARGE, f"the record is larger than {max_bytes} bytes")


def _unknown_type(fields: Mapping[str, Any], event_type: Any) -> Rejected:
    """Why there is no family for an event. One of a family that is not read here is as unknown as any other."""
    if not isinstance(event_type, str):
        if "event_type" in fields:
            return Rejected(RejectReason.INVALID_FIELD, "must be a string", "event_type")
        return Rejected(RejectReason.MISSING_FIELD, "is missing", "event_type")
    other = ALL_TYPES.by_name.get(event_type)
    where = "of the contract" if other is None else f"of this topic: it is one of the family {other.name}"
    return Rejected(RejectReason.UNKNOWN_EVENT_TYPE, f"is not an event type {where}", "event_type")


def _validate(fields: dict[str, Any], types: EventTypes) -> tuple[Family, Envelope] | Rejected:
    name = fields.get("event_type")
    family = types.by_name.get(name) if isinstance(name, str) else None
    if family is None or not isinstance(name, str):
        return _unknown_type(fields, name)
    if family.refuses_secrets and (secret := secret_in(fields)):
        return secret
    try:
        return family, family.events[name].model_validate(fields)
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_input=False)[0]
        return _rejected(mistake, named=not family.refuses_secrets)


def _rejected(error: ErrorDetails, *, named: bool) -> Rejected:
    """`named`: a field that is not of the contract is told by its name, which is whatever somebody wrote there."""
    reason, path = _REASONS.get(error["type"], RejectReason.INVALID_FIELD), [*map(str, error["loc"])]
    if reason is RejectReason.UNKNOWN_FIELD and not named:
        path[-1:] = [_UNNAMED]
    field = ".".join(path)[:_MAX_FIELD_NAME]
    return Rejected(reason, words_for(error, otherwise=error["msg"]), field)


def _broken_limit(details: dict[str, Any], record_bytes: int, limits: Limits) -> Rejected | None:
    """Looks at `details` level by level; an object and an array are a level each."""
    if record_bytes > limits.max_record_bytes:  # of a topic whose other families may have larger ones
        return _too_large(limits.max_record_bytes)
    # Small records need not be written out to be measured.
    may_be_larger = record_bytes * _LONGER > limits.max_details_bytes
    if may_be_larger and len(orjson.dumps(details)) > limits.max_details_bytes:
        message = f"are larger than {limits.max_details_bytes} bytes of compact JSON"
        return Rejected(RejectReason.DETAILS_TOO_LARGE, message, "details")
    if _is_flat_and_plain(details, limits):  # nearly always, at a third of the cost
        return None
    depth, keys = 1, 0
    level: list[Any] = [details]
    while level:
        if depth > limits.max_details_depth:
            message = f"nest deeper than {limits.max_details_depth} levels"
            return Rejected(RejectReason.DETAILS_TOO_DEEP, message, "details")
        objects = [item for item in level if isinstance(item, dict)]
        keys += sum(map(len, objects))
        if keys > limits.max_details_keys:
            message = f"have more than {limits.max_details_keys} keys"
            return Rejected(RejectReason.DETAILS_TOO_MANY_KEYS, message, "details")
        if any(map(_has_bad_key, objects)):
            message = "have a key with NUL, a dot or a leading $"
            return Rejected(RejectReason.DETAILS_BAD_KEY, message, "details")
        level = [child for item in level for child in _children(item) if isinstance(child, _NESTING)]
        depth += 1
    return None


def _is_flat_and_plain(details: dict[str, Any], limits: Limits) -> bool:
    """Whether there are no levels to go down to, and nothing in the keys to look at one by one."""
    if len(details) > limits.max_details_keys or limits.max_details_depth < 1:
        return False
    return (
        not _has_bad_key(details)
        and dict not in (kinds := set(map(type, details.values())))
        and list not in kinds
    )


def _children(item: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return item.values() if isinstance(item, dict) else item


def _has_bad_key(item: dict[str, Any]) -> bool:
    joined = "".join(item)
    if "$" not in joined and "." not in joined and "\0" not in joined:
        return False
    return any(key.startswith("$") or "." in key or "\0" in key for key in item)


def _event(
    model: Envelope,
    fields: Mapping[str, Any],
    given: Mapping[str, Any],
    digest: bytes,
    family: Family,
) -> Event:
    """`value` and details are taken as written: validation reads 1 as 1.0, the store keeps it 1."""
    details, text, personal = take_personal(model.event_type, given)
    # In the order of its fields: by name it takes half as long again, and one is made of every record.
    return Event(
        model.event_id,
        model.event_type,
        model.occurred_at,
        _object_id(model.user_id),
        _object_id(model.course_id),
        digest,
        details,
        _object_id(model.lesson_id),
        model.producer,
        model.session_id,
        model.correlation_id,
        model.device_type,
        model.user_agent,
        model.ip_address,
        text,
        fields.get("value"),
        model.schema_version,
        _further_ids(fields, given, family) if family.further_ids or family.derived else NO_IDS,
        family.about,
        personal,
    )


def _further_ids(
    fields: Mapping[str, Any], details: Mapping[str, Any], family: Family
) -> dict[str, ObjectId]:
    """The ids beside the learner's, the course's and the lesson's; what has none has one made of its text."""
    given = {name: ObjectId(fields[name]) for name in family.further_ids if name in fields}
    made = {f"{entity}_id": foreign_object_id(details[key]) for entity, key in family.derived.items()}
    return {**given, **made}


# The same learners, courses and lessons come again and again. 2 MB at most.
@lru_cache(maxsize=16_384)
def _object_id(value: str | None) -> ObjectId | None:
    return None if value is None else ObjectId(value)
