"""Stamps for the events of a batch: what is known of their courses and learners, read in batches and cached.

The stamp is stored with the event and is no part of its fingerprint: a fold takes what was known when the event came,
on every machine and for ever. What cannot be read or makes no sense stays unknown; an event never waits for it.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from typing import Any
from zoneinfo import available_timezones

from bson import ObjectId

from worker.chunks import chunks
from worker.contract.event import Event
from worker.contract.family import LEARNER
from worker.ingest.enrich.cache import AgedCache
from worker.ingest.enrich.course import COURSE_PATHS, KnownCourse, known_course
from worker.ingest.record import Candidate
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.lesson_lists import store_lists
from worker.timing import Clock

COURSES_AGE_S = 30.0
"""A new curriculum is stamped after this time at the latest, by every process."""
UNKNOWN_AGE_S = 3.0
"""A course without a document, or lessons, is soon asked for again: the first enrolments come right behind it."""
ZONES_AGE_S = 120.0
"""A new time zone of a learner is stamped after this time at the latest."""

# 200 courses of 300 lessons take 15 MB, 100,000 learners as much.
_COURSES, _COURSE_BYTES = 2_000, 48_000_000
_ZONES = 100_000
_ZONE_BYTES = 150
# A course of 300 lessons has some 40 kB of what is read; decoding so many of them takes 10 ms.
_COURSES_PER_QUERY = 10
_USERS_PER_QUERY = 1_000
_ZONE_PATHS = {"preferences.timezone": 1}
# Many learners have named none: nothing is sent of them.
_WITH_ZONE: Document = {"preferences.timezone": {"$type": "string"}}


@dataclass(frozen=True, slots=True)
class Stamps:
    """What a batch's events are stamped with."""

    courses: Mapping[ObjectId, KnownCourse] = field(default_factory=dict)
    zones: Mapping[ObjectId, str] = field(default_factory=dict)

    def curriculum(self, event: Event, version: int) -> Document | None:
        """What is known of a learner's course, and of the lesson that the event names; None for an unknown course.

        An enrolment, and the first event of a stream, names besides the list of the course's lessons: by it the fold
        shows what the learner has not started. An enrolment that names no number of lessons has that number, too.
        """
        if event.about is not LEARNER:
            return None
        course = self.courses.get(event.course_id)  # type: ignore[arg-type]  # a learner's event names its course
        if course is None:
            return None
        stamp = course.lessons.get(event.lesson_id, course.plain)  # type: ignore[arg-type]  # None is no lesson
        more: Document = {}
        is_enrolment = event.event_type == "course_enrolled"
        if is_enrolment and "total_lessons" not in event.details:
            more["total_lessons"] = course.total
        if course.list_id is not None and (is_enrolment or version == 1):
            more["lesson_list"] = course.list_id
        return {**stamp, **more} if more else stamp

    def time_zone(self, event: Event) -> str | None:
        """The learner's, an IANA name; None where none is known."""
        return self.zones.get(event.user_id) if event.about is LEARNER else None  # type: ignore[arg-type]


NO_STAMPS = Stamps()


class Enricher:
    """Reads what is not known yet, and remembers it for a while. May be asked twice.

    What it writes are the lists of lessons that its stamps name: each is durable before a stamp is given that names
    it, and is stored again whenever its course is read again.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._courses: AgedCache[ObjectId, KnownCourse] = AgedCache(
            clock, age_s=COURSES_AGE_S, entries=_COURSES, max_bytes=_COURSE_BYTES, size=_size
        )
        # By the digest of the bytes that were read.
        self._meanings: AgedCache[bytes, tuple[ObjectId, KnownCourse | None]] = AgedCache(
            clock, age_s=2 * COURSES_AGE_S, entries=_COURSES, max_bytes=_COURSE_BYTES, size=_meaning_size
        )
        self._unknown: AgedCache[ObjectId, None] = AgedCache(
            clock, age_s=UNKNOWN_AGE_S, entries=_ZONES, max_bytes=_ZONES * _ZONE_BYTES, size=_small
        )
        self._zones: AgedCache[ObjectId, str | None] = AgedCache(
            clock, age_s=ZONES_AGE_S, entries=_ZONES, max_bytes=_ZONES * _ZONE_BYTES, size=_small
        )

    async def stamps(self, candidates: Iterable[Candidate]) -> Stamps:
        """The stamps of these events. Raises Retryable while the server is away."""
        events = [each.event for each in candidates if each.event.about is LEARNER]
        courses = {event.course_id for event in events if event.course_id is not None}
        learners = {event.user_id for event in events if event.user_id is not None}
        stamps = Stamps(await self._known_courses(courses), await self._known_zones(learners))
        for each in (self._courses, self._meanings, self._unknown, self._zones):
            each.trim()
        return stamps

    async def _known_courses(self, wanted: Iterable[ObjectId]) -> dict[ObjectId, KnownCourse]:
        known, missing = self._courses.look(wanted)
        if missing:
            _, missing = self._unknown.look(missing)
        read: dict[ObjectId, KnownCourse] = {}
        for some in chunks(missing, _COURSES_PER_QUERY):
            query = {"_id": {"$in": list(some)}}
            courses = await self._said(await reading.find_raw(self._database.courses, query, COURSE_PATHS))
            self._unknown.put({each: None for each in some if each not in courses})
            read |= courses
        if read:
            lists = [course.ids for course in read.values() if course.ids is not None]
            await store_lists(self._database, lists, self._clock.now())
            self._courses.put(read)
        return known | read

    async def _said(self, documents: Iterable[bytes]) -> dict[ObjectId, KnownCourse]:
        """What these courses say. One that is as it was when it was read before is not decoded again."""
        documents_by_digest = {blake2b(each).digest(): each for each in documents}
        known, new = self._meanings.look(documents_by_digest)
        for digest in new:
            document = reading.decoded(self._database.courses.name, documents_by_digest[digest])
            meant = document.through(lambda course: (course["_id"], known_course(course)))
            for meaning in meant.values:
                known[digest] = meaning
            await asyncio.sleep(0)
        self._meanings.put(known)
        return {course_id: course for course_id, course in known.values() if course is not None}

    async def _known_zones(self, wanted: Iterable[ObjectId]) -> dict[ObjectId, str]:
        known, missing = self._zones.look(wanted)
        for some in chunks(missing, _USERS_PER_QUERY):
            query = {"_id": {"$in": list(some)}, **_WITH_ZONE}
            found = await reading.find(self._database.users, query, _ZONE_PATHS)
            read = dict(found.through(lambda user: (user["_id"], time_zone(user))).values)
            self._zones.put({each: read.get(each) for each in some})
            known |= read
        return {user_id: zone for user_id, zone in known.items() if zone is not None}


def time_zone(user: Mapping[str, Any]) -> str | None:
    """`preferences.timezone` of a user document, if it is an IANA name."""
    preferences = user.get("preferences")
    name = preferences.get("timezone") if isinstance(preferences, dict) else None
    return name if isinstance(name, str) and name in _time_zones() else None


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _size(course: KnownCourse) -> int:
    return course.size_bytes


def _meaning_size(meaning: tuple[ObjectId, KnownCourse | None]) -> int:
    _, course = meaning
    return _ZONE_BYTES if course is None else course.size_bytes


def _small(_value: object) -> int:
    return _ZONE_BYTES
