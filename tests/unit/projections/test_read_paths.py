"""What folds read of an event is what is read from the store: the rest stays on the server."""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from bson import ObjectId

from projections.account.opening import opening_record as user_record
from projections.catalogue import EVERY
from projections.content.courses.opening import opening_record as course_record
from projections.event import DETAILS_READ, OPENING_DETAILS, StoredEvent
from projections.kinds import Document, StreamProjection
from projections.progress import fold
from projections.progress.apply import EFFECTS
from tests.unit.projections.content.events import ITEM
from tests.unit.projections.events import event, moment, stored_document
from tests.unit.projections.histories import history_of
from worker.contract.upcasters import UPCASTERS
from worker.storage.documents import opening_of_entity

COURSE = {
    "title": "Theirs",
    "instructor_id": ObjectId(ITEM),
    "status": "published",
    "publication": {"version": "1.0"},
    "created_at": moment(-100),
}
USER = {"_id": ObjectId(ITEM), "email": "jane@example.com", "account": {"roles": ["admin"]}}
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


every_projection = pytest.mark.parametrize("projection", EVERY.streams, ids=lambda each: each.name)


@every_projection
def test_no_fold_needs_details_that_stay_on_the_server(projection: StreamProjection) -> None:
    events = history_of(projection)
    read = [
        replace(
            each, details={name: said for name, said in each.details.items() if is_read(projection, name)}
        )
        for each in events
    ]
    assert projection.refold(read, None, "live") == projection.refold(events, None, "live")


def is_read(projection: StreamProjection, detail: str) -> bool:
    places = ("event_data.details", "personal.details")
    return any(
        place in projection.event_paths or f"{place}.{detail}" in projection.event_paths for place in places
    )


OPENINGS: Mapping[tuple[str, ...], Document] = {
    ("course",): opening_of_entity(f"course_{ITEM}", 1, course_record(COURSE), b"", moment(100), "run"),
    ("user",): opening_of_entity(f"user_{ITEM}", 1, user_record(USER), b"", moment(100), "run"),
}


@every_projection
def test_what_an_opening_says_is_read_where_it_stands(projection: StreamProjection) -> None:
    """Of courses and users all of it is personal, also for projections that read few details."""
    if projection.about not in OPENINGS:
        return
    opening = stored_document(OPENINGS[projection.about])
    read = of_paths(opening, [path.split(".") for path in projection.event_paths])
    folded = [
        projection.refold([StoredEvent.from_document({"_id": opening["_id"], **each})], None, "live")
        for each in (opening, read)
    ]
    assert folded[0] == folded[1]
    assert projection.has_begun(folded[0])


def of_paths(document: Mapping[str, Any], paths: Sequence[Sequence[str]]) -> Document:
    """What a server sends of a document of which these paths are asked for."""
    found: Document = {}
    for name, value in document.items():
        below = [path[1:] for path in paths if path[0] == name]
        if any(not path for path in below):
            found[name] = value
        elif below and isinstance(value, Mapping):
            found[name] = of_paths(value, below)
    return found
