"""The worker's versions of courses and the oracle's agree; where one was altered the oracle says so."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from projections.content.versions.projection import COURSE_VERSIONS
from projections.event import StoredEvent
from tests.oracle.case import Case
from tests.oracle.stored import Stored
from tests.oracle.versions import version_documents
from tests.support.courses import STREAM, TEACHER, event_of, golden_versions, moment, sent, stored
from tests.unit.projections.events import stored_document
from tests.unit.projections.test_versions import PARTS, lives, made
from worker.storage.database import Document
from worker.storage.documents import opening_of_entity
from worker.verify.shapes import misfits_of

SHAPES = PARTS.target.shapes if PARTS is not None else ()


def case(events: list[Document], history: Document, versions: list[Document]) -> Case:
    histories = [history] if COURSE_VERSIONS.has_begun(history) else []
    return Case(Stored(events=events, version_histories=histories, course_versions=versions))


def folded(events: list[Document]) -> tuple[Document, list[Document]]:
    seen = [*map(StoredEvent.from_document, events)]
    history = COURSE_VERSIONS.refold(seen, None, "live")
    placed = {name: history[name] for name in ("stream_id", "slot")}
    parts = made(history, seen).values()
    return {"_id": history["entity_id"], "rev": 1, **history}, [
        {**each, **placed, "event_version": 1} for each in parts
    ]


@given(lives(), st.randoms(use_true_random=False))
def test_the_oracle_says_of_any_history_what_the_worker_says(events: list[Document], random: Any) -> None:
    random.shuffle(events)
    arrived = stored(events)
    assert list(version_documents(case(arrived, *folded(arrived)))) == []


Damage = Callable[[Document, Document], Any]
DAMAGE: dict[str, Damage] = {
    "current": lambda history, _: history.update(current_version="2.0"),
    "listed": lambda history, _: history["versions"].pop(),
    "refused": lambda history, _: history.update(without_effect=None),
    "behind": lambda history, _: history.update(version=3),
    "snapshot": lambda _, version: version["course_snapshot"].update(title="Another"),
    "price that is not shown": lambda _, version: version["course_snapshot"]["pricing"].update(
        price={"amount": 9.9, "currency": "USD"}
    ),
    "lesson": lambda _, version: version["course_snapshot"]["curriculum"][0]["lessons"].pop(),
    "change": lambda _, version: version["changes"]["detailed_changes"].pop(),
    "total": lambda _, version: version["changes"].update(total=99),
    "author": lambda _, version: version["metadata"].update(created_by=ObjectId()),
    "status": lambda _, version: version["deployment"].update(status="draft"),
    "moment": lambda _, version: version.update(created_at=version["created_at"] + timedelta(seconds=1)),
    "label": lambda _, version: version.update(version="7"),
    "made by": lambda _, version: version.update(event_version=0),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_altered_version_or_history_is_told(damage: str) -> None:
    events = stored(golden_versions())
    history, versions = folded(events)
    assert list(version_documents(case(events, history, versions))) == []
    DAMAGE[damage](history, versions[1])
    assert len(list(version_documents(case(events, history, versions)))) >= 1


def test_a_version_that_is_missing_or_nobodys_is_told() -> None:
    events = stored(golden_versions())
    history, versions = folded(events)
    assert len(list(version_documents(case(events, history, versions[1:])))) == 1
    other = {**versions[0], "version": "7", "_id": ObjectId()}
    assert len(list(version_documents(case(events, history, [*versions, other])))) == 1


def adopted(version: int) -> Document:
    """That the platform kept the course until the middle of its story, with a version that was live."""
    content = {"title": "Old", "slug": "old", "instructor_id": ObjectId(TEACHER), "curriculum": []}
    none = ("deleted_at", "published_at", "last_updated", "next_update_scheduled")
    life = {"status": "published", "created_at": moment(-9), "updated_at": moment(-1), "version": "0.9"}
    record = {"content": content, "life": {**life, **dict.fromkeys(none), "changelog": []}}
    return stored_document(opening_of_entity(STREAM, version, record, b"", moment(4.5), "run"))


@pytest.mark.parametrize("place", [0, 5, 13])
def test_the_versions_of_an_adopted_course_begin_with_the_one_that_was_live(place: int) -> None:
    """Whenever the course's own events arrive."""
    back = sent("course_version_rolled_back", 9.5, version="2.0", rollback_version="0.9")
    further = [*golden_versions(), back]
    events = [event_of(fields, number + (number > place)) for number, fields in enumerate(further, start=1)]
    events.insert(place, adopted(place + 1))

    history, versions = folded(events)

    assert [each["version"] for each in history["versions"]] == ["2.0", "0.9"]
    assert history["current_version"] == "0.9"
    first = next(each for each in versions if each["version"] == "0.9")
    assert first["course_snapshot"]["title"] == "Old"
    assert first["changes"] == {"type": None, "summary": None, "detailed_changes": [], "total": 0}
    assert misfits_of(SHAPES, {**first, "rev": 1, "projection_version": 1}) == []
    assert list(version_documents(case(events, history, versions))) == []
