"""The lists of lessons that a learner's events name (docs/projections.md, "Curricula"), from all of them at once."""

from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId

from tests.oracle.reported import MIGRATED, Event, at, details, order, real

_KEPT = 20


@dataclass(frozen=True, slots=True)
class Curriculum:
    """Lessons in their order, and the events that name just these."""

    lessons: tuple[ObjectId, ...]
    events: Sequence[Event]

    @property
    def since(self) -> datetime | None:
        """When it came, None where the learner began with it."""
        moments = [at(event) for event in self.events if event["event_type"] == MIGRATED]
        return min(moments) if len(moments) == len(self.events) else None


def listed(event: Event) -> tuple[ObjectId, ...]:
    """The lessons that an event names, none for nearly all: a list that it names by a hash was read with it."""
    if event["event_type"] == MIGRATED:
        raw = b64decode(details(event)["lessons"])
    else:
        raw = (event.get("curriculum") or {}).get("lessons") or b""
    return tuple(ObjectId(raw[place : place + 12]) for place in range(0, len(raw), 12))


def curricula_of(events: Iterable[Event]) -> Sequence[Curriculum]:
    """All that a stream's events name, whether an adopted record has them or not; the last one named is the last."""
    named: dict[tuple[ObjectId, ...], list[Event]] = {}
    for event in real(events):
        if lessons := listed(event):
            named.setdefault(lessons, []).append(event)
    found = [Curriculum(lessons, own) for lessons, own in named.items()]
    return sorted(found, key=lambda each: max(map(order, each.events)))[-_KEPT:]


def with_untouched(
    shown: Sequence[Mapping[str, Any]], curricula: Sequence[Curriculum], most: int
) -> list[Mapping[str, Any]]:
    """`lesson_progress` of the entries of touched lessons: in the curriculum's order, the untouched among them."""
    if not curricula:
        return list(shown)
    lessons = curricula[-1].lessons
    entries = {entry["lesson_id"]: entry for entry in shown}
    room = most - len(entries)
    untouched = [lesson for lesson in lessons if lesson not in entries][: max(0, room)]
    entries |= {lesson: {"lesson_id": lesson, "status": "not_started"} for lesson in untouched}
    former = {lesson for each in curricula for lesson in each.lessons} - {*lessons}
    others = [entry for entry in shown if entry["lesson_id"] not in lessons]
    return [
        *(entries[lesson] for lesson in lessons if lesson in entries),
        *(each for each in others if each["lesson_id"] not in former or each["progress_percentage"] == 100),
    ]
