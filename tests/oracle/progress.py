"""A few numbers of a progress document, computed a second way: from all events of a stream at once.

Written from docs/projections.md alone, with decimals instead of the folds' running integers. The caps (1,000 lessons)
are left out: test data stays below them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Any

Event = Mapping[str, Any]

_PLAYER = ("view", "pause", "seek")
_LONGEST_S = Decimal(10_000_000)


@dataclass(frozen=True, slots=True)
class Numbers:
    """Percentages and the average in hundredths, time in milliseconds; `quiz_average` None without a quiz."""

    percentage: int
    completed_lessons: int
    total_ms: int
    quiz_average: int | None


def expected_numbers(events: Iterable[Event]) -> Numbers:
    """What the document must show for these `course_events` documents, voids among them or not."""
    real = [event for event in events if event["event_type"] != "void"]
    return Numbers(
        percentage=_percentage(real),
        completed_lessons=len(_lessons_of(event for event in real if event["event_type"] == "complete")),
        total_ms=sum(_time_ms(event) for event in real),
        quiz_average=_quiz_average(real),
    )


def shown_numbers(document: Mapping[str, Any]) -> Numbers:
    """What a `user_progress` document shows."""
    average = document["performance"]["quiz_average"]
    return Numbers(
        percentage=_shown(document["progress"]["percentage"], 100),
        completed_lessons=document["progress"]["completed_lessons"],
        total_ms=_shown(document["time_tracking"]["total_seconds"], 1000),
        quiz_average=None if average is None else _shown(average, 100),
    )


def _shown(number: float, scale: int) -> int:
    return int((_decimal(number) * scale).to_integral_value(ROUND_HALF_UP))


def _percentage(events: Sequence[Event]) -> int:
    reported = [_floor(_detail(event, "new_progress") * 100) for event in _of(events, "progress_updated")]
    lessons = {lesson: _lesson_percentage(own) for lesson, own in _by_lesson(events).items()}
    total = _total_lessons(events)
    if total and sum(percentage == 10_000 for percentage in lessons.values()) >= total:
        return 10_000
    share = _floor(Decimal(sum(lessons.values())) / (total or len(lessons) or 1))
    return max([*reported, min(9_999, share)])


def _lesson_percentage(events: Sequence[Event]) -> int:
    if _of(events, "complete"):
        return 10_000
    reached = [_detail(event, "progress") for event in _of(events, *_PLAYER) if "progress" in _details(event)]
    return _floor(max(reached, default=Decimal(0)) * 10_000)


def _total_lessons(events: Sequence[Event]) -> int | None:
    """The total of the latest enrolment that names one."""
    latest = sorted(
        _of(events, "course_enrolled"), key=lambda e: (e["occurred_at"], e["_id"].bytes), reverse=True
    )
    totals = (
        _details(e).get("total_lessons") or (e["curriculum"] or {}).get("total_lessons") for e in latest
    )
    return next((int(total) for total in totals if total), None)


def _quiz_average(events: Sequence[Event]) -> int | None:
    scores = [_half_up(_detail(event, "score") * 100) for event in _of(events, "quiz_submitted")]
    return _half_up(Decimal(sum(scores)) / len(scores)) if scores else None


def _time_ms(event: Event) -> int:
    spent = _details(event).get("time_spent")
    if isinstance(spent, bool) or not isinstance(spent, int | float) or spent < 0:
        return 0
    return _half_up(min(_decimal(spent), _LONGEST_S) * 1000)


def _by_lesson(events: Iterable[Event]) -> Mapping[Any, Sequence[Event]]:
    lessons: dict[Any, list[Event]] = defaultdict(list)
    for event in events:
        if event["event_data"].get("lesson_id") is not None:
            lessons[event["event_data"]["lesson_id"]].append(event)
    return lessons


def _lessons_of(events: Iterable[Event]) -> set[Any]:
    return set(_by_lesson(events))


def _of(events: Iterable[Event], *types: str) -> Sequence[Event]:
    return [event for event in events if event["event_type"] in types]


def _details(event: Event) -> Mapping[str, Any]:
    details: Mapping[str, Any] = event["event_data"].get("details", {})
    return details


def _detail(event: Event, name: str) -> Decimal:
    return _decimal(_details(event)[name])


def _decimal(number: float) -> Decimal:
    """The decimal that names the number, 0.29 for 0.29."""
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(int(number))


def _floor(number: Decimal) -> int:
    return int(number.to_integral_value(ROUND_FLOOR))


def _half_up(number: Decimal) -> int:
    return int(number.to_integral_value(ROUND_HALF_UP))
