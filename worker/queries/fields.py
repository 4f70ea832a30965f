"""Fields of a document by dotted path: which there are, what one holds, and which differ between two documents.

An entry of an array is named by its place or, where the entries have ids, by its id: `lesson_progress.<id>.status`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from enum import Enum
from operator import eq
from typing import Any, Final

from bson import ObjectId
from pydantic import BaseModel

from worker.storage.validators import object_schema

Schema = Mapping[str, Any]
Alike = Callable[[Any, Any], bool]

_ID_DIGITS: Final = 24


class Nothing(Enum):
    """What a field holds that is not there: null is a value."""

    ABSENT = "absent"


ABSENT: Final = Nothing.ABSENT


def value_at(document: Any, path: str) -> Any:
    """What the document holds at the path; `ABSENT` where there is no such field."""
    value = document
    for name in path.split(".") if path else ():
        value = _part(value, name)
        if value is ABSENT:
            return ABSENT
    return value


def differing(before: Any, after: Any, path: str = "", *, alike: Alike = eq) -> Iterator[tuple[str, Any]]:
    """The innermost fields that hold something else in `after`, each with its value there, `ABSENT` if it is gone.

    `path` is where the two values stand. Null and no field at all are no difference.
    """
    if _is_nothing(before) and _is_nothing(after):
        return
    if before is not ABSENT and after is not ABSENT and alike(before, after):
        return
    now = _parts(after)
    if not now:
        yield path, after
        return
    then = _parts(before) or {}
    for name in (*now, *(name for name in then if name not in now)):
        inner = f"{path}.{name}" if path else name
        yield from differing(then.get(name, ABSENT), now.get(name, ABSENT), inner, alike=alike)


def why_unknown(
    shapes: Sequence[type[BaseModel]], path: str, only: Collection[str] | None = None
) -> str | None:
    """Which fields there are, for a path that no document of these shapes has; None for one that may be there.

    Of the document's own fields those count that the shapes name; further in, an open shape may have any. `only`:
    these paths and what lies below them, if they are given; a dotted one names a part of a field.
    """
    schema: Schema = {"anyOf": [_closed(object_schema(shape), only) for shape in shapes]}
    begun: list[str] = []
    for name in path.split("."):
        inner = _inner(schema, name)
        if inner is None:
            named = ", ".join(dict.fromkeys(_names(schema))) or "no fields"
            return f"{'.'.join(begun) or 'the document'} has {named}"
        schema = inner
        begun.append(name)
    return None


def _closed(schema: Schema, only: Collection[str] | None) -> Schema:
    """The schema of an object without further fields, and without those that `only` does not name."""
    fields: Mapping[str, Schema] = schema["properties"]
    if only is not None:
        parts: dict[str, list[str]] = {}
        for path in only:
            name, _, inner = path.partition(".")
            parts.setdefault(name, []).append(inner)
        fields = {
            name: each if "" in parts[name] else _closed(each, parts[name])
            for name, each in fields.items()
            if name in parts
        }
    return {**schema, "properties": fields, "additionalProperties": False}


def _is_nothing(value: Any) -> bool:
    return value is None or value is ABSENT


def _part(value: Any, name: str) -> Any:
    if isinstance(value, list) and name.isdecimal() and len(name) < _ID_DIGITS:
        return value[int(name)] if int(name) < len(value) else ABSENT
    return (_parts(value) or {}).get(name, ABSENT)


def _parts(value: Any) -> Mapping[str, Any] | None:
    """The fields of a document, or the entries of an array by their ids; None for any other value."""
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, list):
        return None
    entries = {_id_of(entry): entry for entry in value}
    return entries if len(entries) == len(value) and None not in entries else None  # type: ignore[return-value]


def _id_of(entry: Any) -> str | None:
    """`_id`, or else the first field that is named like one."""
    if not isinstance(entry, Mapping):
        return None
    names = ["_id", *(name for name in entry if name.endswith("_id"))]
    return next((str(entry[name]) for name in names if isinstance(entry.get(name), ObjectId)), None)


def _alternatives(schema: Schema) -> Sequence[Schema]:
    return [each for one in schema["anyOf"] for each in _alternatives(one)] if "anyOf" in schema else [schema]


def _inner(schema: Schema, name: str) -> Schema | None:
    """The schema of a part of that name, empty where it may be anything; None where there is no such part.

    Documents of several shapes may each have one: then it is any of those.
    """
    found = [part for each in _alternatives(schema) if (part := _part_of(each, name)) is not None]
    return {"anyOf": found} if len(found) > 1 else next(iter(found), None)


def _part_of(schema: Schema, name: str) -> Schema | None:
    """`_inner` of one alternative."""
    others = schema.get("additionalProperties", "object" in str(schema.get("bsonType")))
    if name in schema.get("properties", {}):
        found: Schema = schema["properties"][name]
        return found
    if "items" in schema and (name.isdecimal() or ObjectId.is_valid(name)):
        return dict(schema["items"])
    if isinstance(others, Mapping):
        return others
    return {} if not schema or others is True else None


def _names(schema: Schema) -> Iterator[str]:
    for each in _alternatives(schema):
        yield from each.get("properties", {})
        if "items" in each:
            yield "<id or place>"
        if isinstance(each.get("additionalProperties"), Mapping):
            yield "<key>"
