"""`verify` knows an opening: it has no row, its place gives its id, and what it says has a fingerprint."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from bson import ObjectId

from projections.event import StoredEvent
from projections.progress import refold
from projections.progress.projection import PROGRESS
from tests.support.opening import opening_event
from tests.unit.projections.events import COURSE, STORED_AT, STREAM, USER, moment, stored_document
from worker.contract.codec import decode_event, encode
from worker.contract.event import Event
from worker.contract.identity import stream_object_id
from worker.contract.source import Source
from worker.storage.documents import event_document, interaction_row
from worker.verify.fold_audit import DocumentDigest, FoldAudit
from worker.verify.stream_audit import StreamAudit

Document = dict[str, Any]


def stored() -> list[Document]:
    """An opening and one event behind it."""
    fields = {
        "event_id": str(UUID(int=1)),
        "event_type": "discussion_posted",
        "occurred_at": moment(20_000).isoformat(),
        "user_id": str(USER),
        "course_id": str(COURSE),
    }
    posted = decode_event(encode(fields), timestamp=STORED_AT)
    assert isinstance(posted, Event)
    document = event_document(posted, 2, Source("interaction-events", 0, 0), STORED_AT, None)
    return [stored_document(opening_event(STREAM, 1, STORED_AT)), stored_document(document)]


def found(events: list[Document], record_of: list[Document]) -> list[str]:
    """What is found wrong in these events, beside the document of others."""
    folded = refold([StoredEvent.from_document(each) for each in record_of], None, "replay")
    document = {"_id": stream_object_id(STREAM), "rev": 1, **folded}
    audit = StreamAudit(STREAM, [FoldAudit(STREAM, PROGRESS, DocumentDigest.of(document, PROGRESS.paths))])
    audit.feed(events)
    audit.close()
    audit.meet(interaction_row(record_of[1]))
    return sorted(
        {each.name for each in [*audit.take_findings(), *audit.missing_rows()]} - {"event_fingerprint"}
    )


def test_an_opening_and_what_follows_it_are_as_they_must_be() -> None:
    assert found(stored(), stored()) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            lambda each: each["event_data"]["details"]["record"]["progress"].update(percentage=99.0),
            "event_fingerprint_different",
            id="another percentage",
        ),
        pytest.param(
            lambda each: each["personal"].update(texts={"a": "b"}), "event_fingerprint_different", id="note"
        ),
        pytest.param(lambda each: each.update(_id=UUID(int=7)), "event_different", id="another id"),
        pytest.param(
            lambda each: each["metadata"].update(origin="x"), "event_different", id="another origin"
        ),
        pytest.param(
            lambda each: each["event_data"]["details"]["record"].update(status="suspended"),
            "event_different",
            id="no record",
        ),
        pytest.param(
            lambda each: each.update(occurred_at=each["occurred_at"] + timedelta(hours=1)),
            "event_different",
            id="another moment",
        ),
        pytest.param(
            lambda each: each["event_data"].update(user_id=ObjectId()), "event_misfiled", id="misfiled"
        ),
    ],
)
def test_an_opening_that_somebody_changed_is_found(change: Callable[[Document], Any], expected: str) -> None:
    opening, view = stored()
    change(opening)
    assert expected in found([opening, view], stored())
