"""Which part of `details` is personal free text: it is kept apart, so it can be sealed or erased alone."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

PERSONAL_KEYS: Mapping[str, str] = MappingProxyType({"lesson_note_saved": "text"})
"""Event type to the key of `details` that holds free text written by the learner."""


def take_text(event_type: str, details: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """`details` without its personal text, and that text."""
    rest = dict(details)
    key = PERSONAL_KEYS.get(event_type)
    return rest, rest.pop(key, None) if key else None


def put_text(event_type: str, details: Mapping[str, Any], text: str | None) -> dict[str, Any]:
    """The opposite of `take_text`: `details` as the producer wrote them."""
    key = PERSONAL_KEYS.get(event_type)
    return dict(details) if key is None or text is None else {**details, key: text}
