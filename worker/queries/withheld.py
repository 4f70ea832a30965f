"""What of a folded document says who somebody is: what is another when only that is another in its events. Pure.

Beside a stream's fold runs a second one, of the same events with other words for all that the families class as
personal. A field in which both documents hold the same was not made of these words, and may be shown.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from projections.event import StoredEvent
from projections.kinds import Document, StreamProjection
from worker.contract.data_class import PERSONAL
from worker.contract.data_map import DETAILS, class_of
from worker.contract.families import ALL_TYPES, FAMILIES
from worker.contract.family import Family
from worker.contract.identity import stream_kind
from worker.queries.fields import ABSENT, value_at
from worker.queries.stepwise import Step, StepwiseFold, View

Withheld = Callable[[str, Any], bool]
"""Whether a field with this value may not be shown."""

# So long that no two words meet.
_DIGEST_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Twin:
    """The document that the masked events make, None where they make none; `apart`: it may be another one."""

    document: Document | None = None
    apart: bool = False

    def withheld(self, view: View) -> Withheld:
        """Of the fields of this view; of all of them, where nobody could fold the masked events."""
        if not self.apart:
            return lambda _path, _value: False
        if self.document is None:
            return lambda _path, _value: True
        seen = view(self.document)
        return lambda path, value: bool(value_at(seen, path) != value)


class MaskedFold:
    """Takes the events of a stream behind their own fold, masked; does nothing up to the first that is personal."""

    def __init__(self, projection: StreamProjection) -> None:
        self._fold = StepwiseFold(projection)
        self.twin = Twin()

    def take(self, step: Step) -> None:
        """The event that the fold has just taken."""
        event = masked(step.event)
        if event is step.event and not self.twin.apart:
            self._fold.document = step.after
        elif not self.twin.apart or self.twin.document is not None:
            self.twin = Twin(self._taken(event), apart=True)

    def _taken(self, event: StoredEvent) -> Document | None:
        try:
            return self._fold.take(event).after
        except Exception:  # whatever a fold raises for what no producer wrote
            return None


def masked(event: StoredEvent) -> StoredEvent:
    """The event with another word for everything in it that is personal; the event itself, if nothing is."""
    details = _masked_opening(event) if event.is_opening else _masked_details(event)
    text = None if event.text is None else _mask(event.text)
    texts = {name: _mask(each) for name, each in event.texts.items()}
    if details is None and text is None and not texts:
        return event
    return replace(event, details=event.details if details is None else details, text=text, texts=texts)


def _masked_details(event: StoredEvent) -> Mapping[str, Any] | None:
    """The details, masked; None where nothing of them is personal."""
    family = ALL_TYPES.by_name.get(event.event_type)
    if family is None:
        return None

    def is_personal(path: str) -> bool:
        return class_of(family, event.event_type, path) is PERSONAL

    changed = _mapped(event.details, DETAILS, is_personal)
    return None if changed == event.details else changed


def _masked_opening(event: StoredEvent) -> Mapping[str, Any] | None:
    """The record that was adopted, with what of its content is personal masked; what nobody classed is taken for it.

    A learner's record has its texts apart.
    """
    content = event.details.get("record", {}).get("content")
    family = _family_about(event.stream_id)
    if not isinstance(content, Mapping) or family is None:
        return None

    def is_personal(path: str) -> bool:
        return class_of(family, event.event_type, path) in (PERSONAL, None)

    return {
        **event.details,
        "record": {**event.details["record"], "content": _mapped(content, DETAILS, is_personal)},
    }


def _family_about(stream: str) -> Family | None:
    """The family whose words the adopted records of such streams are told in."""
    kind = stream_kind(stream)
    return next((each for each in FAMILIES if kind is not None and each.about == kind), None)


def _mapped(value: Mapping[str, Any], path: str, is_personal: Callable[[str], bool]) -> dict[str, Any]:
    return {name: _at(each, f"{path}.{name}", is_personal) for name, each in value.items()}


def _at(value: Any, path: str, is_personal: Callable[[str], bool]) -> Any:
    """What stands at the path, with its personal parts masked."""
    if isinstance(value, Mapping):
        return _mapped(value, path, is_personal)
    if isinstance(value, list):
        return [_at(each, path, is_personal) for each in value]
    return _mask(value) if is_personal(path) else value


def _mask(value: Any) -> Any:
    """Another value of the same type, for equal ones the same; what is neither text nor number stays."""
    if isinstance(value, str):
        return hashlib.blake2b(value.encode(), digest_size=_DIGEST_BYTES).hexdigest()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value + 1
    return value


def is_nobodys(expected: Any, found: Any) -> bool:
    """Whether a stored field holds a text that no event has made: nobody knows whose words these are."""
    return expected in (None, ABSENT) and isinstance(found, str)
