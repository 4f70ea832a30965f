"""Learners for ever, and the ledger of what they do: each scenario touches every stage of the worker within seconds.

A learner enrols (every second one pays), works through two lessons and completes the course. Some records come
twice, some contradict an earlier one, some are no events, some the store refuses, and some lessons fail to fold.
"""

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from tests.oracle import Entry
from worker.contract.codec import encode, record_key
from worker.contract.identity import foreign_object_id
from worker.devstack.simulator.ledger import Course
from worker.kafka.files import OutgoingRecord

# What the scenarios' own validator refuses, and what their own fold fails on.
REFUSED_DEVICE = "refused-device"
BROKEN_LESSON = foreign_object_id("a lesson that cannot be folded live")
# Stands in every event, and in nobody's log.
CANARY = "SevenP-Chaos/7.7"

_BEGIN = datetime(2026, 1, 5, 8, tzinfo=UTC)  # fixed: the same seed gives the same bytes on any day
_SIDE_BY_SIDE = 24  # learners under way at a time: each partition has some of them


@dataclass(frozen=True, slots=True)
class Step:
    """One record to publish, and what must become of it."""

    record: OutgoingRecord
    entry: Entry


def courses() -> Sequence[Course]:
    """Four courses of two lessons, by two instructors."""
    return [
        Course(
            course_id=str(foreign_object_id(f"course {number}")),
            lessons=tuple(str(foreign_object_id(f"lesson {number}.{each}")) for each in (1, 2)),
            number=number,
            instructor_id=str(foreign_object_id(f"instructor {number % 2}")),
        )
        for number in range(4)
    ]


def learner_id(seed: int, number: int) -> str:
    """24 hex digits."""
    return str(foreign_object_id(f"learner {seed} {number}"))


def scenarios(seed: int) -> Iterator[Step]:
    """Records in the order of publishing, without an end; the same for the same seed."""
    random = Random(seed)  # noqa: S311 - a repeatable order, not a secret
    under_way: list[Iterator[Step]] = []
    number = 0
    while True:
        while len(under_way) < _SIDE_BY_SIDE:
            under_way.append(_scenario(random, seed, number))
            number += 1
        chosen = random.randrange(len(under_way))
        step = next(under_way[chosen], None)
        if step is None:
            del under_way[chosen]
        else:
            yield step


def _scenario(random: Random, seed: int, number: int) -> Iterator[Step]:
    """One learner's records; which of them are special turns with the learner's number."""
    every = courses()
    course = every[number % len(every)]
    first, second = course.lessons
    writer = _Writer(random, learner_id(seed, number), course.course_id, number)
    payment = {
        "transaction_id": f"tx-{seed}-{number}",
        "amount": "49.90",
        "currency": "EUR",
        "method": "card",
    }
    yield writer.ok(
        "course_enrolled", details={"total_lessons": 2, **({"payment": payment} if number % 2 else {})}
    )
    yield writer.ok("lesson_started", lesson_id=first)
    media = writer.ok("view", lesson_id=first, value=12.5, details={"time_spent": 30, "progress": 0.4})
    yield media
    if number % 3 == 0:
        yield writer.ok("lesson_view", lesson_id=str(BROKEN_LESSON))
    yield writer.ok("quiz_submitted", lesson_id=first, details={"score": 80})
    yield writer.ok("complete", lesson_id=first)
    if number % 5 == 0:
        yield writer.again(media)
    if number % 4 == 0:
        yield writer.refused(second)
        yield writer.ok("lesson_view", lesson_id=second)
    if number % 7 == 0:
        yield writer.contradicting(media)
    if number % 11 == 0:
        yield _poison(seed, number)
    yield writer.ok("complete", lesson_id=second)
    yield writer.ok("course_rated", value=1 + number % 5)


@dataclass(slots=True)
class _Writer:
    """Writes one learner's records; the events are seconds apart."""

    random: Random
    user_id: str
    course_id: str
    number: int
    count: int = 0

    def ok(self, event_type: str, **fields: Any) -> Step:
        return self._step("ok", self._fields(event_type, **fields))

    def again(self, step: Step) -> Step:
        return Step(step.record, _entry("duplicate", json.loads(step.entry.value)))

    def contradicting(self, step: Step) -> Step:
        return self._step("conflict", {**json.loads(step.entry.value), "value": 1})

    def refused(self, lesson: str) -> Step:
        fields = self._fields("lesson_view", lesson_id=lesson)
        return self._step("poison", {**fields, "device_type": REFUSED_DEVICE}, reason="refused_by_store")

    def _step(self, kind: Any, fields: dict[str, Any], reason: str | None = None) -> Step:
        value = encode(fields)
        return Step(OutgoingRecord(value, record_key(value)), _entry(kind, fields, value, reason))

    def _fields(self, event_type: str, **fields: Any) -> dict[str, Any]:
        self.count += 1
        at = _BEGIN + timedelta(seconds=self.number * 60 + self.count)
        return {
            "event_id": str(uuid.UUID(int=self.random.getrandbits(128), version=4)),
            "event_type": event_type,
            "occurred_at": at.isoformat(timespec="milliseconds"),
            "user_id": self.user_id,
            "course_id": self.course_id,
            "user_agent": CANARY,
            **fields,
        }


def _entry(kind: Any, fields: dict[str, Any], value: bytes | None = None, reason: str | None = None) -> Entry:
    """Not acknowledged yet."""
    stream = f"course_{fields['course_id']}_user_{fields['user_id']}"
    event_id = uuid.UUID(fields["event_id"])
    return Entry(event_id, stream, kind, value or encode(fields), reason, acknowledged=False)


def _poison(seed: int, number: int) -> Step:
    """Bytes that are no event, each of its own."""
    value = b'{"event_id": "%d-%d", "\xff' % (seed, number)
    return Step(OutgoingRecord(value), Entry(None, None, "poison", value, "not_utf8", acknowledged=False))
