"""When two values count as the same stored value."""

from collections.abc import Mapping
from typing import Any


def differing(expected: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """Names of `expected` under which another value is stored."""
    return [name for name, value in expected.items() if not same(value, stored.get(name))]


def same(one: Any, other: Any) -> bool:
    """Equal in value and BSON type, whatever the order of fields and however wide an integer is: 3.0 is not 3."""
    if isinstance(one, Mapping):
        if not isinstance(other, Mapping) or one.keys() != other.keys():
            return False
        return all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple):
        return isinstance(other, list | tuple) and len(one) == len(other) and all(map(same, one, other))
    return _kind(one) is _kind(other) and bool(one == other)


def _kind(value: Any) -> type:
    """Integers of 32 and 64 bits are of one kind, truth values of another."""
    for kind in (bool, int, float):
        if isinstance(value, kind):
            return kind
    return type(value)
