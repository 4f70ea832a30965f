"""The lists of lessons that a learner was given: by enrolments and first events, by migrations of the course.

A list is the ids of the lessons in the course's order. The one named last is the learner's curriculum; whoever has
done all lessons of any of them has completed the course.
"""

from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import sha1
from types import MappingProxyType

from bson import ObjectId

from projections.event import MIGRATED, StoredEvent
from projections.progress.ranked import lesson_rank, milliseconds_of, moment_of
from projections.progress.state import FULL_LESSONS, CurriculumState, State, earliest
from projections.shared import Shared, SharedArray
from worker.contract.events.own import LESSON_BYTES
from worker.errors import ListNotStored

# Of a course that is revised every month these are years. A list of 300 lessons takes 3.6 kB of the record.
CURRICULA_CAP = 20
_KEY_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Lessons:
    """A list read: `places` are those of the lessons in the course's order, by their ids in hex.

    `untouched` are the entries of lessons that nobody began, which records share: nobody changes them.
    """

    places: Mapping[str, int]
    ranks: frozenset[bytes]
    untouched: SharedArray


# Learners of a course share its lists. One of 300 lessons takes 200 kB here.
@lru_cache(maxsize=256)
def read_lessons(listed: bytes) -> Lessons:
    """The lessons of a list."""
    ids = [ObjectId(listed[at : at + LESSON_BYTES]) for at in range(0, len(listed), LESSON_BYTES)]
    places = {str(lesson): place for place, lesson in enumerate(ids)}
    entries = (Shared({"lesson_id": lesson, "status": "not_started"}) for lesson in ids)
    return Lessons(MappingProxyType(places), frozenset(map(lesson_rank, places)), SharedArray(entries))


# Of what stands in memory once (`with_lists`) the hash by which it is found here is known as well.
@lru_cache(maxsize=256)
def _key_of(listed: bytes) -> str:
    return sha1(listed, usedforsecurity=False).hexdigest()[:_KEY_DIGITS]


def lessons_named(event: StoredEvent) -> bytes | None:
    """The list of lessons that an event names: itself, or as ingest stamped it; None for nearly every event.

    Raises `ListNotStored` where whoever read the event did not find the list: it is not as if there were none.
    """
    if event.event_type == MIGRATED:
        return b64decode(event.details["lessons"], validate=True)
    listed = event.curriculum.get("lessons") if event.curriculum else None
    if listed is None and event.curriculum and event.curriculum.get("lesson_list") is not None:
        raise ListNotStored("the list of lessons that it names is not stored")
    return listed if isinstance(listed, bytes) and listed and len(listed) % LESSON_BYTES == 0 else None


def size_of(listed: bytes) -> int:
    """The number of lessons in a list."""
    return len(listed) // LESSON_BYTES


def name_lessons(state: State, event: StoredEvent) -> None:
    """Take the list that the event names, if it names one; by nothing else of an event does the list change."""
    listed = lessons_named(event)
    if listed is None:
        return
    curricula = dict(state.get("curricula", {}))
    key = _key_of(listed)
    known = curricula.get(key)
    at, event_id = event.occurred_at, event.event_id.bytes
    since = at if event.event_type == MIGRATED else None
    if known is not None:
        at, event_id = max((at, event_id), (known["at"], known["id"]))
        since = None if since is None or known["since"] is None else min(since, known["since"])
    curricula[key] = CurriculumState(lessons=listed, at=at, id=event_id, since=since)
    if len(curricula) > CURRICULA_CAP:
        dropped = curricula.pop(
            min(curricula, key=lambda each: (curricula[each]["at"], curricula[each]["id"]))
        )
        done_at = _done_at(state, dropped)
        if done_at is not None:
            state["done_at"] = earliest(state.get("done_at"), done_at)
    state["curricula"] = curricula


def keep_named(state: State, before: State) -> None:
    """Take over what was named before a state was made anew."""
    if "curricula" in before:
        state["curricula"] = before["curricula"]
    if "done_at" in before:
        state["done_at"] = before["done_at"]


def current(state: State) -> Lessons | None:
    """The learner's curriculum, None where no list was named."""
    curricula = state.get("curricula")
    if not curricula:
        return None
    last, *others = curricula.values()
    if others:  # of few learners
        last = max(last, *others, key=lambda each: (each["at"], each["id"]))
    return read_lessons(last["lessons"])


def total_of(state: State, lessons: Lessons | None) -> int | None:
    """The number of lessons: what was said last, else that of the learner's curriculum."""
    total = state["total"]
    if total is not None:
        return total["v"]
    return None if lessons is None else len(lessons.places)


def has_left(state: State, lessons: Lessons, key: str) -> bool:
    """Whether a lesson was in a curriculum of the learner's, and is not in the last one."""
    if key in lessons.places:
        return False
    return any(key in read_lessons(each["lessons"]).places for each in state.get("curricula", {}).values())


def least_size(state: State) -> int | None:
    """The smallest number of lessons ever named, by whomever."""
    sizes = [size_of(each["lessons"]) for each in state.get("curricula", {}).values()]
    least = state["least_total"]
    return min(sizes if least is None else [*sizes, least], default=None)


def done_moments(state: State) -> Iterator[datetime]:
    """When all lessons of a curriculum were done, for each of them where they are."""
    done_at = state.get("done_at")
    if done_at is not None:
        yield done_at
    for each in state.get("curricula", {}).values():
        moment = _done_at(state, each)
        if moment is not None:
            yield moment


def _done_at(state: State, curriculum: CurriculumState) -> datetime | None:
    """When the last of a curriculum's lessons came to 100 %, a migration's not before it took place.

    The completed lessons that an adopted record does not list may be any of them.
    """
    size, opened = size_of(curriculum["lessons"]), state.get("opened")
    unnamed = 0 if opened is None else opened["unnamed"]
    if FULL_LESSONS.size(state["full"]) + unnamed < size:  # nearly always
        return None
    ranks = read_lessons(curriculum["lessons"]).ranks
    moments = [at_ms for rank, (at_ms, _) in FULL_LESSONS.items(state["full"]) if rank in ranks]
    if opened is not None:
        moments += [milliseconds_of(opened["at"])] * unnamed
    if len(moments) < size:
        return None
    moment, since = moment_of(sorted(moments)[size - 1]), curriculum["since"]
    return moment if since is None else max(moment, since)
