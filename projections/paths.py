"""Owned paths of documents: a dotted one names a part of a field whose other parts are somebody else's.

A fold gives its fields as the document has them, one within the other; a write sets them path by path.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final


class Nothing(Enum):
    """What stands at a path that a document does not have: null is a value."""

    ABSENT = "absent"


ABSENT: Final = Nothing.ABSENT


def at(document: Mapping[str, Any], path: str) -> Any:
    """What the document has at the path; `ABSENT` where there is nothing."""
    value: Any = document
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return ABSENT
        value = value[name]
    return value


def fields_of(paths: Iterable[str]) -> tuple[str, ...]:
    """The top-level fields that the paths lie in, each once."""
    return tuple(dict.fromkeys(path.partition(".")[0] for path in paths))


def by_path(document: Mapping[str, Any], dotted: Iterable[str]) -> dict[str, Any]:
    """The document's fields by path: in place of a field with `dotted` parts, those of them that there are."""
    parts = tuple(dotted)
    split = {path.partition(".")[0] for path in parts}
    plain = {name: value for name, value in document.items() if name not in split}
    return plain | {path: value for path in parts if (value := at(document, path)) is not ABSENT}


def nested(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields by path as a document has them."""
    document: dict[str, Any] = {}
    for path, value in fields.items():
        *outer, name = path.split(".")
        place = document
        for each in outer:
            place = place.setdefault(each, {})
        place[name] = value
    return document
