"""What must be stored in the end, added up from the published records themselves: the ledger of a run."""

from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from worker.kafka.files import OutgoingRecord

_ENROLLED, _LEFT = "course_enrolled", "course_unenrolled"


@dataclass(frozen=True, slots=True)
class Expected:
    """Exact sums of some records.

    `records` counts learners in a course, of whom `enrolled` ever enrolled and `dropped` left last; `enrolments` and
    `quizzes` count events, `payments` those that enrolments name: the worker stores each as an event of its own.
    """

    events: int
    records: int
    enrolments: int
    enrolled: int
    dropped: int
    quizzes: int
    payments: int = 0


def expected_of(published: Iterable[OutgoingRecord]) -> Expected:
    """The ledger of these records, every one of which is an event."""
    events = quizzes = enrolments = 0
    paid: set[str] = set()
    learners: set[tuple[str, str]] = set()
    enrolled: set[tuple[str, str]] = set()
    last: dict[tuple[str, str], tuple[str, str, str]] = {}
    for record in published:
        fields = orjson.loads(record.value or b"")
        learner, event_type = (fields["course_id"], fields["user_id"]), fields["event_type"]
        events += 1
        learners.add(learner)
        quizzes += event_type == "quiz_submitted"
        enrolments += event_type == _ENROLLED
        if event_type == _ENROLLED:
            enrolled.add(learner)
            if "payment" in fields.get("details", {}):
                paid.add(fields["event_id"])
        if event_type in (_ENROLLED, _LEFT):
            moved = (fields["occurred_at"], fields["event_id"], event_type)
            last[learner] = max(moved, last.get(learner, moved))
    dropped = sum(event_type == _LEFT for _, _, event_type in last.values())
    return Expected(events, len(learners), enrolments, len(enrolled), dropped, quizzes, len(paid))
