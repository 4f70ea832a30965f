"""The privacy class of every field that an event can have, by the families' own words (`Family.classes`).

A path names a field as `details.pricing.currency`, whatever lists lie on the way; `*` stands for keys that no model
names. A class holds for all below its path, unless something longer says otherwise; only `details` itself does not:
each of its keys has a class of its own. `<event type>/<path>` is said of one type.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel

from worker.contract.data_class import IDENTIFIER, INTERNAL, PERSONAL, SENSITIVE, DataClass
from worker.contract.family import Family
from worker.contract.personal import FREE_TEXT

DETAILS: Final = "details"
ENVELOPE: Mapping[str, DataClass] = MappingProxyType(
    {
        "event_id": INTERNAL,
        "event_type": SENSITIVE,
        "occurred_at": SENSITIVE,
        "user_id": IDENTIFIER,
        "course_id": IDENTIFIER,
        "lesson_id": IDENTIFIER,
        "producer": INTERNAL,
        "session_id": IDENTIFIER,
        "correlation_id": INTERNAL,
        "device_type": SENSITIVE,
        "user_agent": PERSONAL,
        "ip_address": PERSONAL,
        "value": SENSITIVE,
        "schema_version": INTERNAL,
    }
)
"""Of the fields that all events have, where a family does not say otherwise."""


def paths_of(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Every field of a model, and of the models within it."""
    for name, field in model.model_fields.items():
        path = f"{above}{name}"
        inner = list(_models_in(field.annotation))
        yield path
        for each in inner:
            yield from paths_of(each, f"{path}.")
    if model.model_config.get("extra") == "allow":
        yield f"{above}*"


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field's value is made of, through lists and alternatives."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        if issubclass(annotation, BaseModel):
            yield annotation
    else:
        for each in get_args(annotation):
            yield from _models_in(each)


def class_of(family: Family, event_type: str, path: str) -> DataClass | None:
    """The class of a field; None where nobody has said it."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        known = ".".join(parts[:length])
        if known == DETAILS and length < len(parts):
            return None
        for key in (f"{event_type}/{known}", known):
            if key in family.classes:
                return family.classes[key]
    return ENVELOPE.get(path)


def fields_of(family: Family) -> Iterator[tuple[str, str, DataClass | None]]:
    """Event type, path and class of every field of a family's events."""
    for event_type, model in family.events.items():
        for path in dict.fromkeys(paths_of(model)):
            if path != DETAILS:
                yield event_type, path, class_of(family, event_type, path)


def stored_at(event_type: str, path: str, family: Family) -> str:
    """Where the field lies in the stored event."""
    of_all = {
        "event_id": "_id",
        "event_type": "event_type",
        "occurred_at": "occurred_at",
        "producer": "metadata.producer",
        "correlation_id": "metadata.correlation_id",
        "user_agent": "personal.user_agent",
        "ip_address": "personal.ip_address",
        "schema_version": "schema_version",
    }
    if path in of_all:
        return of_all[path]
    if path == f"{DETAILS}.{FREE_TEXT.get(event_type)}":
        return "personal.text"
    top = ".".join(path.split(".")[:2])
    is_apart = path.startswith(f"{DETAILS}.") and class_of(family, event_type, top) is PERSONAL
    return f"personal.{path}" if is_apart else f"event_data.{path}"
