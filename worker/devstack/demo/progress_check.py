"""Holds progress documents against the simulator's ledger, field by field, in whole hundredths and milliseconds."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from worker.devstack.simulator.ledger import LedgerEntry


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of `subject`'s document that is not what the ledger says; `found` None means absent."""

    subject: str
    field: str
    expected: object
    found: object

    def __str__(self) -> str:
        return f"{self.subject}: {self.field} should be {self.expected}, is {self.found}"


def differences(
    subject: str, expected: Mapping[str, object], shown: Mapping[str, object]
) -> Iterator[Difference]:
    """One for each field that is not shown as expected."""
    for name, value in expected.items():
        if shown.get(name) != value:
            yield Difference(subject, name, value, shown.get(name))


def compare(
    ledger: Iterable[LedgerEntry], documents: Mapping[tuple[str, str], Mapping[str, Any]]
) -> list[Difference]:
    """Every difference; documents are looked up by (user id, course id)."""
    return [
        difference
        for entry in ledger
        for difference in _differences(entry, documents.get((entry.user_id, entry.course_id)))
    ]


def _differences(entry: LedgerEntry, document: Mapping[str, Any] | None) -> Iterator[Difference]:
    subject = f"learner {entry.user_id} in course {entry.course_id}"
    if document is None:
        yield Difference(subject, "document", "present", None)
        return
    shown = {
        "percentage": scaled(document["progress"]["percentage"], 100),
        "completed_lessons": document["progress"]["completed_lessons"],
        "time_ms": scaled(document["time_tracking"]["total_seconds"], 1_000),
        "quiz_average": scaled(document["performance"]["quiz_average"], 100),
        "dropped": document["status"] == "dropped",
        "finished": document["completion_notified"],
    }
    yield from differences(subject, {name: getattr(entry, name) for name in shown}, shown)


def scaled(value: float | None, factor: int) -> int | None:
    """A field of a document as the integer it was made from."""
    return None if value is None else round(value * factor)
