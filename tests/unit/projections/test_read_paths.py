"""What folds read of an event is what is read from the store: the rest stays on the server."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from projections.event import DETAILS_READ, OPENING_DETAILS
from projections.progress import fold
from projections.progress.apply import EFFECTS
from tests.unit.projections.events import event
from worker.contract.upcasters import UPCASTERS

FULL: Mapping[str, Any] = {
    "total_lessons": 2,
    "payment": {"transaction_id": "t", "amount": "1.00", "currency": "EUR", "method": "card"},
    "time_spent": 3,
    "progress": 0.5,
    "new_progress": 40,
    "old_progress": 30,
    "score": 70,
    "total_questions": 10,
    "correct_answers": 7,
    "time_taken": 60,
    "verification_code": "v",
    "certificate_url": "https://example.com/c",
    "type": "completion",
    "valid_until": "2030-01-01T00:00:00Z",
    "lessons": b64encode(bytes(24)).decode(),
    "anything": "x" * 1_000,
}


class Watched(Mapping[str, Any]):
    """Details that remember what was asked of them."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return FULL[name]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("a fold reads the details it names")

    def __len__(self) -> int:
        return len(FULL)


def asked_by(event_type: str) -> set[str]:
    """The details that the fold of one event of this type asks for."""
    details = Watched()
    one = replace(event("view", 0, lesson=1, value=3), event_type=event_type, details=details, text="note")
    fold(None, [replace(one, version=1)], "live")
    return details.asked


@pytest.mark.parametrize("event_type", sorted(EFFECTS))
def test_a_fold_asks_for_no_detail_that_stays_on_the_server(event_type: str) -> None:
    assert asked_by(event_type) <= set(DETAILS_READ)


def test_every_detail_that_is_read_is_read_by_some_fold() -> None:
    assert set().union(*map(asked_by, EFFECTS)) == set(DETAILS_READ) - set(OPENING_DETAILS)


def test_no_upcaster_reads_details_that_are_left_on_the_server() -> None:
    assert not UPCASTERS, "name in DETAILS_READ what the new upcaster reads of the details"
