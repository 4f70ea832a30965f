"""A document of the platform's own is not written over by what events say, until one of them says what it was."""

from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId

from projections.account.opening import opening_record as user_record
from projections.account.projection import USERS
from projections.content.courses.opening import opening_record as course_record
from projections.content.courses.projection import COURSES
from projections.kinds import StreamProjection
from tests.support import accounts, courses
from tests.unit.projections.events import moment, stored_document
from worker.contract.identity import stream_object_id
from worker.storage.database import Document
from worker.storage.documents import opening_of_entity
from worker.watch.folds.fold import Folded, fold_run
from worker.watch.folds.plan import Run, needed
from worker.watch.folds.writing import needs_write, write_all

NOBODY: Any = None  # where nothing may be written
COURSE = {
    "_id": courses.COURSE,
    "title": "Theirs",
    "instructor_id": ObjectId(courses.TEACHER),
    "status": "draft",
    "created_at": datetime(2020, 1, 1, tzinfo=UTC),
}
USER = {
    "_id": accounts.USER,
    "email": "jane@example.com",
    "account": {"roles": ["admin"], "status": "active"},
}
COURSE_EVENT = courses.event_of(courses.sent("course_created", 0, **courses.CREATED))
USER_EVENT = accounts.happened_document(
    "user_registered", 0, email="jane@example.com", username="jane", version=1
)
SHARED = pytest.mark.parametrize(
    ("projection", "theirs", "event", "record"),
    [
        pytest.param(COURSES, COURSE, COURSE_EVENT, course_record(COURSE), id="course"),
        pytest.param(USERS, USER, USER_EVENT, user_record(USER), id="user"),
    ],
)


def folded(projection: StreamProjection, document: Document | None, *events: Document) -> Folded:
    """What a worker makes of a stream beside the document that stands there."""
    task = needed(events[0]["stream_id"], len(events), document, projection.version)
    assert task is not None
    return fold_run(projection, Run(task, events[task.after :]), "live")


@SHARED
async def test_events_that_begin_a_document_wait_while_the_platforms_own_stands_there(
    projection: StreamProjection, theirs: Document, event: Document, record: Document
) -> None:
    one = folded(projection, theirs, event)
    assert needs_write(one)
    written = await write_all(NOBODY, [one])
    [failure] = written.rejected
    assert (failure.error_class, failure.pure) == ("Refused", False)
    assert "is not adopted" in failure.message
    assert written.done == written.current == written.unproven == []


@SHARED
async def test_with_its_opening_it_is_the_workers_and_without_a_document_nothing_waits(
    projection: StreamProjection, theirs: Document, event: Document, record: Document
) -> None:
    opening = opening_of_entity(event["stream_id"], 2, record, b"", moment(100), "run")
    adopted = folded(projection, theirs, event, stored_document(opening))
    assert not adopted.theirs
    assert not folded(projection, None, event).theirs
    assert adopted.fields is not None
    ours = {"_id": stream_object_id(event["stream_id"]), "rev": 1, **adopted.fields, "projection_version": 0}
    assert not folded(projection, ours, event, stored_document(opening)).theirs, "made by an older fold"


@SHARED
async def test_what_became_the_platforms_again_waits_for_another_opening(
    projection: StreamProjection, theirs: Document, event: Document, record: Document
) -> None:
    openings = [
        stored_document(opening_of_entity(event["stream_id"], version, record, b"", moment(at), "run"))
        for version, at in ((1, 10_000_000), (2, 20_000_000))
    ]
    first = folded(projection, theirs, openings[0])
    assert first.fields is not None
    again = {"_id": stream_object_id(event["stream_id"]), "rev": 1, **first.fields}
    del again["stream_id"]
    late = {**event, "version": 2, "recorded_at": moment(15_000_000)}
    assert folded(projection, again, openings[0], late).failure is not None, (
        "it does not say of what stream it is"
    )
    again["projection_version"] = 0  # as who doubts it takes it: from its first event
    assert folded(projection, again, openings[0], late).theirs
    assert not folded(projection, again, *openings).theirs
