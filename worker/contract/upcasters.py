"""Old events in today's shape: pure functions from one schema version to the next, applied in a chain.

The same chain serves two readers: the codec (before validation) and whoever reads a stored event. A step
therefore sees only what both know, under the producer's names: `event_type`, `lesson_id`, `session_id`,
`device_type`, `value` and `details`. On the wire ids are strings, in the store they are ObjectIds: a step may
move or drop them and must not look inside. It returns a new mapping and never changes the one it was given.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

Fields = Mapping[str, Any]
Upcaster = Callable[[Fields], dict[str, Any]]
Upcasters = Mapping[int, Upcaster]
"""Key `n` turns version `n` into version `n + 1`; the keys are contiguous."""

# Only version 1 exists. The first change of the contract adds {1: its upcaster}.
UPCASTERS: Upcasters = MappingProxyType({})


def newest_version(upcasters: Upcasters) -> int:
    """The version the chain ends at: the only one that is validated, folded and stored anew."""
    return max(upcasters, default=0) + 1


def oldest_version(upcasters: Upcasters) -> int:
    """The oldest version the chain can read."""
    return min(upcasters, default=1)


def upcast(fields: Fields, version: int, upcasters: Upcasters = UPCASTERS) -> dict[str, Any]:
    """The fields in the newest version's shape. Raises KeyError if the chain cannot read `version`."""
    upcasted = dict(fields)
    for step in range(version, newest_version(upcasters)):
        upcasted = upcasters[step](upcasted)
    return upcasted


CURRENT_SCHEMA_VERSION = newest_version(UPCASTERS)
