"""Which parts of `details` are personal: they are kept apart, so they can be sealed or erased alone."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from worker.contract.data_class import PERSONAL
from worker.contract.families import FAMILIES
from worker.contract.family import Family

FREE_TEXT: Mapping[str, str] = MappingProxyType({"lesson_note_saved": "text"})
"""Event type to the key of `details` that holds free text written by the learner: it stands in `personal.text`."""

Parts = tuple[dict[str, Any], str | None, dict[str, Any] | None]

_DETAILS: Final = "details."


def personal_keys(family: Family, event_type: str) -> frozenset[str]:
    """The keys of `details` that the family classes as personal, for all its types or for this one."""
    named = (path.removeprefix(f"{event_type}/") for path, of in family.classes.items() if of is PERSONAL)
    keys = {path.removeprefix(_DETAILS) for path in named if path.startswith(_DETAILS)}
    return frozenset(key for key in keys if "." not in key) - {FREE_TEXT.get(event_type)}


PERSONAL_KEYS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        event_type: keys
        for family in FAMILIES
        for event_type in family.events
        if (keys := personal_keys(family, event_type))
    }
)
"""Event type to those keys of `details` that stand in `personal.details`."""

PERSONAL_NAMES: frozenset[str] = frozenset().union(*PERSONAL_KEYS.values())
"""Of any event type."""


def take_personal(event_type: str, details: Mapping[str, Any]) -> Parts:
    """`details` without what is personal, its free text, and its personal keys. Asked of every record."""
    rest = dict(details)
    if event_type in FREE_TEXT:
        return rest, rest.pop(FREE_TEXT[event_type], None), None
    keys = PERSONAL_KEYS.get(event_type)
    if keys is None:  # nearly always
        return rest, None, None
    personal = {key: rest.pop(key) for key in details if key in keys}
    return rest, None, personal or None


def put_personal(event_type: str, details: Mapping[str, Any], personal: Mapping[str, Any]) -> dict[str, Any]:
    """The opposite of `take_personal`: `details` as the producer wrote them, from the stored event's `personal`."""
    whole = {**details, **personal.get("details", {})}
    key, text = FREE_TEXT.get(event_type), personal.get("text")
    return whole if key is None or text is None else {**whole, key: text}
