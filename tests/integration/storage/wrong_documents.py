"""From a model: one full sample document, and every way a single field of it can be wrong."""

import copy
import types
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from bson import ObjectId
from bson.decimal128 import Decimal128
from pydantic import BaseModel

Document = dict[str, Any]
Path = tuple[str | int, ...]

_NOON = datetime(2024, 1, 10, 12, 0, tzinfo=UTC)
_VALUES: dict[Any, Any] = {
    types.NoneType: None,
    bool: True,
    int: 1,
    float: 1.5,
    str: "sample",
    bytes: b"bytes",
    UUID: UUID("11111111-2222-3333-4444-555555555555"),
    datetime: _NOON,
    ObjectId: ObjectId("65a000000000000000000001"),
    Decimal128: Decimal128("9.99"),
    dict: {"any": 1},
    list: ["any"],
}
# One BSON type: a schema cannot tell a UUID from other bytes.
_SAME_KIND = {UUID: bytes}


def sample(model: type[BaseModel]) -> Document:
    """A document with every field of the model present and, where it may be null, not null."""
    return {field.alias or name: _value(field.annotation) for name, field in model.model_fields.items()}


def wrong_types(model: type[BaseModel]) -> Iterator[tuple[Path, Document]]:
    """The sample with one value replaced by one of every type that has no place there, for every field."""
    whole = sample(model)
    for path, annotation in _fields(model, ()):
        kinds = _kinds(annotation)
        for kind, value in _VALUES.items():
            if _SAME_KIND.get(kind, kind) in kinds or Any in kinds:
                continue
            if path == ("_id",) and kind is list:
                continue  # the server refuses arrays as `_id` before it looks at the validator
            yield path, _replaced(whole, path, value)


def missing_fields(model: type[BaseModel]) -> Iterator[tuple[Path, Document]]:
    """The sample without one required field (`_id` aside: the driver adds it), for every required field."""
    whole = sample(model)
    for path, nested in _models(model, ()):
        for name, field in nested.model_fields.items():
            stored = field.alias or name
            if field.is_required() and (*path, stored) != ("_id",):
                yield (*path, stored), _removed(whole, (*path, stored))


def unknown_fields(model: type[BaseModel]) -> Iterator[tuple[Path, Document]]:
    """The sample with one more field in each sub-document whose model forbids it."""
    whole = sample(model)
    for path, nested in _models(model, ()):
        if nested.model_config.get("extra") == "forbid":
            yield (*path, "unknown"), _replaced(whole, (*path, "unknown"), "surprise")


def _value(annotation: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return "anything"
    if origin is Annotated:
        return _value(arguments[0])
    if origin in (Union, types.UnionType):
        return _value(next(argument for argument in arguments if argument is not types.NoneType))
    if origin is Literal:
        return arguments[0]
    if origin is list:
        return [_value(arguments[0])]
    if origin is dict:
        return {"key": _value(arguments[1])}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return sample(annotation)
    return copy.deepcopy(_VALUES[annotation])


def _fields(model: type[BaseModel], prefix: Path) -> Iterator[tuple[Path, Any]]:
    """Every typed place of the sample: fields, items of lists, values of maps, at any depth."""
    for path, nested in _models(model, prefix):
        for name, field in nested.model_fields.items():
            yield from _places(field.annotation, (*path, field.alias or name))


def _places(annotation: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    yield path, annotation
    for inner in _parts(annotation):
        origin, arguments = get_origin(inner), get_args(inner)
        if origin is list:
            yield from _places(arguments[0], (*path, 0))
        elif origin is dict:
            yield from _places(arguments[1], (*path, "key"))


def _models(model: type[BaseModel], path: Path) -> Iterator[tuple[Path, type[BaseModel]]]:
    yield path, model
    for name, field in model.model_fields.items():
        for place, annotation in _places(field.annotation, (*path, field.alias or name)):
            for part in _parts(annotation):
                if isinstance(part, type) and issubclass(part, BaseModel):
                    yield from _models(part, place)


def _parts(annotation: Any) -> Iterator[Any]:
    """The alternatives of an annotation, without their bounds."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _parts(arguments[0])
    elif origin in (Union, types.UnionType):
        for argument in arguments:
            yield from _parts(argument)
    else:
        yield annotation


def _kinds(annotation: Any) -> set[Any]:
    """Python types with a place there. An enumeration has none: no value of ours is a member."""
    kinds: set[Any] = set()
    for part in _parts(annotation):
        origin = get_origin(part)
        if origin is Literal:
            continue
        if origin in (list, dict):
            kinds.add(origin)
        elif isinstance(part, type) and issubclass(part, BaseModel):
            kinds.add(dict)
        else:
            kinds.add(_SAME_KIND.get(part, part))
    return kinds


def _replaced(document: Document, path: Path, value: Any) -> Document:
    changed = copy.deepcopy(document)
    _parent(changed, path)[path[-1]] = copy.deepcopy(value)
    return changed


def _removed(document: Document, path: Path) -> Document:
    changed = copy.deepcopy(document)
    del _parent(changed, path)[path[-1]]
    return changed


def _parent(document: Document, path: Path) -> Any:
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    return place
