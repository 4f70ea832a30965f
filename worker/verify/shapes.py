"""Whether a document has the shape its collection's validator wants, decided by the document itself.

The validator lets nothing else in, but a restore, an older schema or `bypassDocumentValidation` do. The same models
are asked here, type for type as BSON has them: 3.0 is not 3.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel

from worker.storage.models import MODELS
from worker.storage.validators import BSON_TYPES, object_schema

Schema = Mapping[str, Any]
Shapes = Sequence[type[BaseModel]]
Test = Callable[[Any], bool]
Path = tuple[str, ...]
Check = Callable[[Any], Collection[Path]]
"""Paths below a value that do not fit; the empty one is the value itself."""

# Enough to see what kind of damage it is.
_PATHS_NAMED = 5
_BOUNDS = ("minimum", "maximum", "minLength", "maxLength")
_NONE: frozenset[type] = frozenset()
_FITS: tuple[Path, ...] = ()
_DOES_NOT_FIT: tuple[Path, ...] = ((),)


def misfits(collection: str, document: Mapping[str, Any]) -> list[str]:
    """Paths that are not as the collection's validator wants them."""
    return misfits_of(MODELS[collection], document)


def misfits_of(shapes: Shapes, document: Mapping[str, Any], *, only: tuple[str, ...] = ()) -> list[str]:
    """Paths that fit none of the shapes, of the nearest one; of some fields, where only those were read."""
    found = []
    for shape in shapes:
        paths = _check_of(shape, only)(document)
        if not paths:
            return []
        found.append(sorted({".".join(path) for path in paths}))
    return min(found, key=len)


def misfits_named(paths: Sequence[str]) -> str:
    """The paths as the detail of a finding: never a value."""
    more = len(paths) - _PATHS_NAMED
    named = ", ".join(path or "the document" for path in paths[:_PATHS_NAMED])
    return f"not of the stored shape in {named}" + (f" and {more} more" if more > 0 else "")


# How a document's parts are told from the value itself.
_WITHIN = ("items", "properties", "required", "additionalProperties")


@cache
def _check_of(model: type[BaseModel], only: tuple[str, ...]) -> Check:
    schema = object_schema(model)
    if only:
        schema["properties"] = {name: each for name, each in schema["properties"].items() if name in only}
        schema["required"] = [name for name in schema["required"] if name in only]
    return _check(schema)


def _check(schema: Schema) -> Check:
    """The check that a schema asks for, made once: it runs for every value of every document.

    KeyError for a keyword that is not known, so that none is left out unseen.
    """
    tests = [_TESTS[keyword](argument) for keyword, argument in schema.items() if keyword not in _WITHIN]
    parts = [_of_items(_check(schema["items"]))] if "items" in schema else []
    parts += [_of_fields(schema)] if "properties" in schema or "additionalProperties" in schema else []

    def check(value: Any) -> Collection[Path]:
        for test in tests:
            if not test(value):
                return _DOES_NOT_FIT
        for part in parts:
            if found := part(value):
                return found
        return _FITS

    return check


def _of_items(item: Check) -> Check:
    def check(value: Any) -> Collection[Path]:
        items = enumerate(value) if isinstance(value, list) else ()
        return [(str(place), *path) for place, each in items for path in item(each)]

    return check


def _of_fields(schema: Schema) -> Check:
    known = {name: _check(each) for name, each in schema.get("properties", {}).items()}
    required = frozenset(schema.get("required", ()))
    others = schema.get("additionalProperties", True)
    of_others = (
        _check(others) if isinstance(others, Mapping) else lambda _: _FITS if others else _DOES_NOT_FIT
    )

    # Most values are of a plain type, which one look tells; and some are besides within bounds, which another does.
    plain = {name: _plain_types(each) for name, each in schema.get("properties", {}).items()}
    bounded = {name: _bounds(each) for name, each in schema.get("properties", {}).items()}

    def check(value: Any) -> Collection[Path]:
        if type(value) is not dict and not isinstance(value, Mapping):
            return _FITS  # null, where the type allows it
        found: list[Path] = []
        for name, each in value.items():
            if type(each) in plain.get(name, _NONE) and ((test := bounded[name]) is None or test(each)):
                continue
            if paths := known.get(name, of_others)(each):
                found += [(name, *path) for path in paths]
        return found if required <= value.keys() else found + [(name,) for name in required - value.keys()]

    return check


def _plain_types(schema: Schema) -> frozenset[type]:
    """The types of which any value fits that is within the bounds, where nothing else is asked for."""
    if not schema.keys() <= {"bsonType", *_BOUNDS} or "bsonType" not in schema:
        return _NONE
    names = schema["bsonType"]
    return frozenset(kind for name in ([names] if isinstance(names, str) else names) for kind in _kinds(name))


def _bounds(schema: Schema) -> Test | None:
    """What is asked of a value of a plain type, if anything: of a number or of a text one bound, or both."""
    tests = [_TESTS[keyword](schema[keyword]) for keyword in _BOUNDS if keyword in schema]
    if len(tests) < 2:
        return tests[0] if tests else None
    lowest, highest = tests
    return lambda value: lowest(value) and highest(value)


def _kinds(name: str) -> tuple[type, ...]:
    """Python's types for one of BSON's."""
    nested = {"object": (dict, Mapping), "array": (list,)}
    return nested.get(name) or tuple(kind for kind, names in BSON_TYPES.items() if name in names)


def _of_types(names: str | Sequence[str]) -> Test:
    kinds = tuple(kind for name in ([names] if isinstance(names, str) else names) for kind in _kinds(name))
    exactly = frozenset(kinds)  # one look tells, mostly; a truth value is no integer
    return lambda value: type(value) in exactly or (isinstance(value, kinds) and not isinstance(value, bool))


def _of_any(schemas: Sequence[Schema]) -> Test:
    checks = [_check(schema) for schema in schemas]
    return lambda value: any(not check(value) for check in checks)


_TESTS: Mapping[str, Callable[[Any], Test]] = {
    "bsonType": _of_types,
    "anyOf": _of_any,
    "enum": lambda allowed: lambda value: value in allowed,
    "minimum": lambda bound: lambda value: not isinstance(value, int | float) or value >= bound,
    "maximum": lambda bound: lambda value: not isinstance(value, int | float) or value <= bound,
    "minLength": lambda length: lambda value: not isinstance(value, str) or len(value) >= length,
    "maxLength": lambda length: lambda value: not isinstance(value, str) or len(value) <= length,
    "pattern": lambda pattern: lambda value: not isinstance(value, str) or bool(re.search(pattern, value)),
}
