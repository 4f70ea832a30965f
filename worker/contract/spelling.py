"""The one spelling of details that JSON lets producers write in several ways: whole numbers and times.

What the contract does not name stays as it was written.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from worker.contract.fields import whole
from worker.contract.times import parse_time, spelt

WHOLE_NUMBERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"course_enrolled": ("total_lessons",), "quiz_submitted": ("total_questions", "correct_answers")}
)
TIMES: Mapping[str, tuple[str, ...]] = MappingProxyType({"certificate_issued": ("valid_until",)})
"""Event type to the keys of its `details` whose values have one spelling."""
_HAVE_SPELLINGS = WHOLE_NUMBERS.keys() | TIMES.keys()


def respelt(event_type: str, details: Mapping[str, Any]) -> Mapping[str, Any]:
    """Valid `details` in their one spelling; the very same object where they have it already."""
    if event_type not in _HAVE_SPELLINGS:  # most
        return details
    numbers = WHOLE_NUMBERS.get(event_type, ())
    changed = {name: whole(details[name]) for name in numbers if type(details.get(name)) is float}
    changed |= _respelt_times(event_type, details)
    return {**details, **changed} if changed else details


def with_times_respelt(event_type: str, details: Mapping[str, Any]) -> Mapping[str, Any]:
    """Stored `details` as they would be stored today: an older release kept times as they were written."""
    changed = _respelt_times(event_type, details)
    return {**details, **changed} if changed else details


def _respelt_times(event_type: str, details: Mapping[str, Any]) -> dict[str, str]:
    present = {name: details[name] for name in TIMES.get(event_type, ()) if name in details}
    spellings = {name: spelt(parse_time(text)) for name, text in present.items()}
    return {name: text for name, text in spellings.items() if text != present[name]}
