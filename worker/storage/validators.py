"""From pydantic models to the `$jsonSchema` MongoDB enforces: a pure translation, one rule per Python type.

It understands exactly what the models use and refuses anything else, so no field loses its check unseen.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import annotated_types
from bson import ObjectId
from bson.decimal128 import Decimal128
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typing_extensions import is_typeddict

Schema = dict[str, Any]

BSON_TYPES: dict[Any, list[str]] = {
    NoneType: ["null"],
    bool: ["bool"],
    int: ["int", "long"],
    float: ["double"],
    str: ["string"],
    bytes: ["binData"],
    UUID: ["binData"],
    datetime: ["date"],
    ObjectId: ["objectId"],
    Decimal128: ["decimal"],
}

# A validator refuses, and every write.
STRICT = {"validationLevel": "strict", "validationAction": "error"}


def validator(models: Iterable[type[BaseModel]]) -> Schema:
    """Validator of a collection whose documents are each one of `models`."""
    shapes = [object_schema(model) for model in models]
    return {"$jsonSchema": shapes[0] if len(shapes) == 1 else {"bsonType": "object", "anyOf": shapes}}


def object_schema(model: type[BaseModel]) -> Schema:
    """Schema of one model: stored names, required fields, and no further ones if the model forbids them."""
    properties = {field.alias or name: _field_schema(field) for name, field in model.model_fields.items()}
    required = [field.alias or name for name, field in model.model_fields.items() if field.is_required()]
    schema: Schema = {"bsonType": "object", "properties": properties}
    if required:
        schema["required"] = required
    if model.model_config.get("extra") == "forbid":
        schema["additionalProperties"] = False
    return schema


def _field_schema(field: FieldInfo) -> Schema:
    return _constrained(_schema(field.annotation), field.metadata)


def _schema(annotation: Any) -> Schema:
    """Schema of one annotation; TypeError for a type the models do not use."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return {}
    if annotation in BSON_TYPES:
        return _typed(BSON_TYPES[annotation])
    if origin is Annotated:
        return _constrained(_schema(arguments[0]), arguments[1:])
    if origin in (Union, UnionType):
        return _union(arguments)
    if origin is Literal:
        return {"bsonType": "string", "enum": list(arguments)}
    if origin is list:
        return {"bsonType": "array", "items": _schema(arguments[0])}
    if origin is dict:
        return _map(arguments[1])
    if is_typeddict(origin or annotation):
        return _typed_dict_schema(origin or annotation, arguments)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return object_schema(annotation)
    raise TypeError(f"no BSON type is known for {annotation!r}")


def _typed_dict_schema(kind: Any, arguments: Sequence[Any]) -> Schema:
    """Schema of a TypedDict, which has no further fields; a generic one with its arguments."""
    chosen = dict(zip(getattr(kind, "__parameters__", ()), arguments, strict=True))
    hints = get_type_hints(kind, include_extras=True).items()
    plain = {name: get_args(hint)[0] if get_origin(hint) is NotRequired else hint for name, hint in hints}
    fields = {name: chosen.get(hint, hint) for name, hint in plain.items()}
    return {
        "bsonType": "object",
        "properties": {name: _schema(hint) for name, hint in fields.items()},
        "required": [name for name in fields if name in kind.__required_keys__],
        "additionalProperties": False,
    }


def _map(values: Any) -> Schema:
    inner = _schema(values)
    return {"bsonType": "object", "additionalProperties": inner} if inner else {"bsonType": "object"}


def _union(arguments: Iterable[Any]) -> Schema:
    """One list of types where each part is nothing but a type, alternatives otherwise."""
    parts = [_schema(argument) for argument in arguments]
    if all(set(part) == {"bsonType"} for part in parts):
        return _typed([name for part in parts for name in _names(part)])
    return {"anyOf": parts}


def _names(part: Schema) -> list[str]:
    kinds = part["bsonType"]
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _typed(names: list[str]) -> Schema:
    return {"bsonType": names[0] if len(names) == 1 else names}


def _constrained(schema: Schema, metadata: Iterable[Any]) -> Schema:
    """The schema with the bounds pydantic keeps beside the type."""
    for constraint in metadata:
        schema = schema | _bounds(constraint, schema)
    return schema


def _bounds(constraint: Any, schema: Schema) -> Schema:
    if isinstance(constraint, FieldInfo):
        return _constrained(schema, constraint.metadata)
    match constraint:
        case annotated_types.Ge(ge=bound):
            return {"minimum": bound}
        case annotated_types.Le(le=bound):
            return {"maximum": bound}
        case annotated_types.MinLen(min_length=length):
            return {"minLength": length}
        case annotated_types.MaxLen(max_length=length):
            return {"maxLength": length}
    pattern = getattr(constraint, "pattern", None)
    if isinstance(pattern, str):
        return {"pattern": pattern}
    raise TypeError(f"no schema keyword is known for {constraint!r}")
