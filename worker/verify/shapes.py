"""Whether a document has the shape its collection's validator wants, decided by the document itself.

The validator lets nothing else in, but a restore, an older schema or `bypassDocumentValidation` do. The same models
are asked here, type for type as BSON has them: 3.0 is not 3.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

from bson import ObjectId
from bson.binary import Binary
from bson.decimal128 import Decimal128
from pydantic import BaseModel

from worker.storage.models import MODELS
from worker.storage.validators import object_schema

Schema = Mapping[str, Any]
Test = Callable[[Any], bool]

# Enough to see what kind of damage it is.
_PATHS_NAMED = 5


def misfits(collection: str, document: Mapping[str, Any]) -> list[str]:
    """Paths that are not as the collection's validator wants them."""
    return misfits_of(MODELS[collection], document)


def misfits_of(
    shapes: Sequence[type[BaseModel]], document: Mapping[str, Any], *, only: tuple[str, ...] = ()
) -> list[str]:
    """Paths that fit none of the shapes, of the nearest one; of some fields, where only those were read."""
    if any(_fit_of(shape, only)(document) for shape in shapes):
        return []
    return min((sorted(set(_paths(_schema_of(shape, only), document, ""))) for shape in shapes), key=len)


def misfits_named(paths: Sequence[str]) -> str:
    """The paths as the detail of a finding: never a value."""
    more = len(paths) - _PATHS_NAMED
    named = ", ".join(path or "the document" for path in paths[:_PATHS_NAMED])
    return f"not of the stored shape in {named}" + (f" and {more} more" if more > 0 else "")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_TYPES: Mapping[str, Test] = {
    "null": lambda value: value is None,
    "bool": lambda value: isinstance(value, bool),
    "int": _is_int,
    "long": _is_int,
    "double": lambda value: isinstance(value, float),
    "string": lambda value: isinstance(value, str),
    "binData": lambda value: isinstance(value, bytes | Binary | UUID),
    "date": lambda value: isinstance(value, datetime),
    "objectId": lambda value: isinstance(value, ObjectId),
    "decimal": lambda value: isinstance(value, Decimal128),
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list),
}

# A value of each type that nearly all values are of: one look tells for those.
_VALUES: tuple[Any, ...] = (
    None,
    True,
    1,
    1.0,
    "",
    b"",
    UUID(int=0),
    datetime.min.replace(tzinfo=UTC),
    ObjectId(),
    Decimal128("0"),
    {},
    [],
)
_COMMON: Mapping[type, Any] = {type(value): value for value in _VALUES}

_BOUNDS: Mapping[str, Callable[[Any], Test]] = {
    "enum": lambda allowed: lambda value: value in allowed,
    "minimum": lambda bound: lambda value: not isinstance(value, int | float) or value >= bound,
    "maximum": lambda bound: lambda value: not isinstance(value, int | float) or value <= bound,
    "minLength": lambda length: lambda value: not isinstance(value, str) or len(value) >= length,
    "maxLength": lambda length: lambda value: not isinstance(value, str) or len(value) <= length,
    "pattern": lambda pattern: (
        lambda value: not isinstance(value, str) or re.search(pattern, value) is not None
    ),
}


@cache
def _fit_of(model: type[BaseModel], only: tuple[str, ...]) -> Test:
    """Whether a document has the shape: the answer without paths, some ten times sooner, and nearly always yes."""
    return _fitting(_schema_of(model, only))


def _schema_of(model: type[BaseModel], only: tuple[str, ...]) -> Schema:
    schema = object_schema(model)
    if only:
        schema["properties"] = {name: each for name, each in schema["properties"].items() if name in only}
        schema["required"] = [name for name in schema["required"] if name in only]
    return schema


def _fitting(schema: Schema) -> Test:
    tests = list(_tests(schema))
    tests += [_items_fit(schema["items"])] if "items" in schema else []
    tests += [_fields_fit(schema)] if "properties" in schema or "additionalProperties" in schema else []
    if len(tests) == 1:
        return tests[0]

    def fits(value: Any) -> bool:
        for test in tests:  # noqa: SIM110 - a plain loop: this is asked for every value of every document
            if not test(value):
                return False
        return True

    return fits


def _items_fit(schema: Schema) -> Test:
    item = _fitting(schema)
    return lambda value: not isinstance(value, list) or all(map(item, value))


def _fields_fit(schema: Schema) -> Test:
    known = {name: _fitting(each) for name, each in schema.get("properties", {}).items()}
    required = frozenset(schema.get("required", ()))
    others = schema.get("additionalProperties", True)
    of_others = _fitting(others) if isinstance(others, Mapping) else (lambda _: bool(others))

    def fits(value: Any) -> bool:
        if not isinstance(value, Mapping):
            return True  # null, where the type allows it
        for name, each in value.items():
            if not known.get(name, of_others)(each):
                return False
        return required <= value.keys()

    return fits


def _paths(schema: Schema, value: Any, path: str) -> Iterator[str]:
    """Paths from `path` downwards that do not fit."""
    if not all(test(value) for test in _tests(schema)):
        yield path
        return
    if "items" in schema and isinstance(value, list):
        for place, each in enumerate(value):
            yield from _paths(schema["items"], each, f"{path}.{place}")
    if isinstance(value, Mapping):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        yield from (_below(path, name) for name in set(schema.get("required", ())) - value.keys())
        for name, each in value.items():
            inner = known.get(name, others)
            if isinstance(inner, Mapping):
                yield from _paths(inner, each, _below(path, name))
            elif not inner:
                yield _below(path, name)


def _tests(schema: Schema) -> Iterator[Test]:
    """Tests of the value itself; TypeError for a keyword that is not known, so that none is left out unseen."""
    for keyword, argument in schema.items():
        if keyword == "bsonType":
            yield _of_types([argument] if isinstance(argument, str) else argument)
        elif keyword == "anyOf":
            yield _of_any([_fitting(each) for each in argument])
        elif keyword in _BOUNDS:
            yield _BOUNDS[keyword](argument)
        elif keyword not in ("properties", "required", "additionalProperties", "items"):
            raise TypeError(f"no check is known for {keyword!r}")


def _of_types(names: Iterable[str]) -> Test:
    tests = [_TYPES[name] for name in names]
    exactly = frozenset(kind for kind in _COMMON if any(test(_COMMON[kind]) for test in tests))
    return lambda value: type(value) in exactly or any(test(value) for test in tests)


def _of_any(tests: Sequence[Test]) -> Test:
    return lambda value: any(test(value) for test in tests)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
