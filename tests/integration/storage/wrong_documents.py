"""From a model: one full sample document, and every way a single field of it can be wrong."""

import copy
import types
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)
from uuid import UUID

from bson import ObjectId
from bson.decimal128 import Decimal128
from pydantic import BaseModel
from typing_extensions import is_typeddict

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


class Field(NamedTuple):
    """One stored field: its annotation, and whether a document without it is wrong."""

    name: str
    annotation: Any
    required: bool


def _fields(shape: Any) -> list[Field] | None:
    """The fields of a model or of a typed dictionary, None for a type that has none."""
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        fields = shape.model_fields.items()
        return [Field(field.alias or name, field.annotation, field.is_required()) for name, field in fields]
    kind = get_origin(shape) or shape
    if not is_typeddict(kind):
        return None
    chosen = dict(zip(getattr(kind, "__parameters__", ()), get_args(shape), strict=True))
    hints = get_type_hints(kind, include_extras=True).items()
    plain = {name: get_args(hint)[0] if get_origin(hint) is NotRequired else hint for name, hint in hints}
    return [
        Field(name, chosen.get(hint, hint), name in kind.__required_keys__) for name, hint in plain.items()
    ]


def _forbids_others(shape: Any) -> bool:
    """Whether a document of this shape may have no further fields. No typed dictionary may."""
    return (
        not isinstance(shape, type)
        or is_typeddict(shape)
        or getattr(shape, "model_config", {}).get("extra") == "forbid"
    )


def sample(model: Any) -> Document:
    """A document with every field of the shape present and, where it may be null, not null."""
    return {field.name: _value(field.annotation) for field in _fields(model) or ()}


def wrong_types(model: type[BaseModel]) -> Iterator[tuple[Path, Document]]:
    """The sample with one value replaced by one of every type that has no place there, for every field."""
    whole = sample(model)
    for path, annotation in _typed_places(model):
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
    for path, nested in _shapes(model, ()):
        for field in _fields(nested) or ():
            if field.required and (*path, field.name) != ("_id",):
                yield (*path, field.name), _removed(whole, (*path, field.name))


def unknown_fields(model: type[BaseModel]) -> Iterator[tuple[Path, Document]]:
    """The sample with one more field in each sub-document whose model forbids it."""
    whole = sample(model)
    for path, nested in _shapes(model, ()):
        if _forbids_others(nested):
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
    if _fields(annotation) is not None:
        return sample(annotation)
    return copy.deepcopy(_VALUES[annotation])


def _typed_places(model: Any) -> Iterator[tuple[Path, Any]]:
    """Every typed place of the sample: fields, items of lists, values of maps, at any depth."""
    for path, nested in _shapes(model, ()):
        for field in _fields(nested) or ():
            yield from _places(field.annotation, (*path, field.name))


def _places(annotation: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    yield path, annotation
    for inner in _parts(annotation):
        origin, arguments = get_origin(inner), get_args(inner)
        if origin is list:
            yield from _places(arguments[0], (*path, 0))
        elif origin is dict:
            yield from _places(arguments[1], (*path, "key"))


def _shapes(model: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """The shape itself and every shape within it, each with where it stands in the sample."""
    yield path, model
    for field in _fields(model) or ():
        for place, annotation in _places(field.annotation, (*path, field.name)):
            for part in _parts(annotation):
                if _fields(part) is not None:
                    yield from _shapes(part, place)


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
        elif _fields(part) is not None:
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
