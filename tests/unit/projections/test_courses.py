"""Courses: last writer per part, steps in their order, and the same content however events arrive."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any
from uuid import UUID

import bson
import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from projections.content.courses.fold import has_begun
from projections.content.courses.projection import COURSES
from projections.event import StoredEvent
from tests.oracle.courses import expected_course
from tests.support.courses import (
    COURSE,
    CREATED,
    LESSON,
    STREAM,
    TEACHER,
    event_of,
    modules,
    moment,
    sent,
    stored,
    story,
    version,
)
from tests.unit.projections.events import stored_document
from worker.storage.database import CODEC_OPTIONS, Document
from worker.storage.documents import opening_of_entity
from worker.storage.models import Course
from worker.verify.shapes import misfits_of

fold, refold = COURSES.fold, COURSES.refold


def folded(*events: Document) -> Document:
    return refold(story(events), None, "live")


def encoded(document: Document) -> bytes:
    return bson.encode(document, codec_options=CODEC_OPTIONS)


def content(document: Mapping[str, Any]) -> Document:
    """What may not depend on how events arrived."""
    return {name: each for name, each in document.items() if name not in ("version", "recorded_at")}


def test_what_is_left_out_stays_and_null_removes() -> None:
    course = folded(
        sent("course_created", 0, **CREATED, description={"short": "s", "html": "h"}, subtitle="first"),
        sent("course_described", 10, description={"html": None, "markdown": "m"}, metadata={"tags": ["a"]}),
        sent("course_described", 20, subtitle=None, metadata={"duration": {"total_minutes": 60.0}}),
    )
    assert course["description"] == {"short": "s", "markdown": "m"}
    assert course["metadata"] == {"tags": ["a"], "duration": {"total_minutes": 60}}
    assert course["subtitle"] is None
    assert course["title"] == "Full Stack"
    assert course["updated_at"] == moment(20)


def test_a_later_word_stands_whenever_it_arrives() -> None:
    late = sent("course_priced", 5, pricing={"type": "paid", "price": {"amount": "9.90", "currency": "EUR"}})
    course = folded(
        sent("course_created", 0, **CREATED),
        sent("course_priced", 50, pricing={"price": {"amount": "19.99", "currency": "USD"}}),
        late,
    )
    assert course["pricing"] == {"type": "paid", "price": {"amount": 19.99, "currency": "USD"}}


def test_top_level_status_and_instructor_follow_from_the_rich_fields() -> None:
    other = "65a4f0c2e13b7a0001c0fffe"
    course = folded(
        sent("course_created", 0, **CREATED),
        sent("course_submitted", 1),
        sent("course_published", 2, next_update_scheduled="2024-09-01T00:00:00+02:00"),
        sent("course_instructor_changed", 3, instructor_id=other.upper()),
    )
    assert course["status"] == course["publication"]["status"] == "published"
    assert course["instructor_id"] == course["instructor"]["user_id"] == ObjectId(other)
    assert course["publication"]["published_at"] == moment(2)
    assert course["publication"]["next_update_scheduled"].isoformat() == "2024-08-31T22:00:00+00:00"


ILLEGAL = {
    "course_submitted": ("published", "wrong_status"),
    "course_published": ("draft", "wrong_status"),
    "course_returned_to_draft": ("draft", "wrong_status"),
    "course_archived": ("archived", "wrong_status"),
    "course_deleted": ("deleted", "deleted"),
    "course_restored": ("draft", "not_deleted"),
    "course_created": ("draft", "created_already"),
}
WAY_TO: Mapping[str, Sequence[Document]] = {
    "draft": (),
    "published": (sent("course_submitted", 1), sent("course_published", 2)),
    "archived": (sent("course_archived", 1),),
    "deleted": (sent("course_deleted", 1),),
}


@pytest.mark.parametrize("event_type", ILLEGAL)
def test_an_illegal_step_has_no_effect_and_is_listed_with_its_reason(event_type: str) -> None:
    status, reason = ILLEGAL[event_type]
    details = CREATED if event_type == "course_created" else {}
    before = folded(sent("course_created", 0, **CREATED), *WAY_TO[status])
    course = folded(sent("course_created", 0, **CREATED), *WAY_TO[status], sent(event_type, 9, **details))
    assert before["without_effect"] is None
    told = course["without_effect"]
    assert (told["total"], told["latest"][0]["event_type"], told["latest"][0]["reason"]) == (
        1,
        event_type,
        reason,
    )
    for name in ("status", "publication", "deleted_at", "created_at"):
        assert course[name] == before[name]


def test_a_step_that_was_illegal_is_legal_once_the_one_before_it_has_come() -> None:
    submitted, published = sent("course_submitted", 1), sent("course_published", 2)
    created = sent("course_created", 0, **CREATED)
    early = refold(story([created, published]), None, "live")
    assert (early["status"], early["without_effect"]["total"]) == ("draft", 1)
    whole = refold(story([created, published, submitted]), None, "live")
    assert (whole["status"], whole["without_effect"]) == ("published", None)


@pytest.mark.parametrize("status", ["draft", "published", "archived"])
def test_while_a_course_is_deleted_nothing_moves_it_and_restored_it_is_what_it_was(status: str) -> None:
    steps = [sent("course_created", 0, **CREATED), *WAY_TO[status], sent("course_deleted", 5)]
    gone = folded(*steps, sent("course_archived", 6), sent("course_version_created", 7, **version("1.0")))
    assert gone["deleted_at"] == moment(5)
    assert gone["status"] == status
    assert [each["reason"] for each in gone["without_effect"]["latest"]] == ["deleted", "deleted"]
    assert folded(*steps, sent("course_restored", 8))["deleted_at"] is None


def test_version_and_changelog_follow_from_what_is_deployed_and_rolled_back() -> None:
    life = [
        sent("course_created", 0, **CREATED),
        sent("course_version_created", 1, **version("1.0")),
        sent("course_version_deployed", 2, version="1.0"),
        sent("course_version_created", 3, **version("1.1", "a", "b")),
        sent("course_version_deployed", 4, version="1.1"),
    ]
    shown = folded(*life)["publication"]
    assert (shown["version"], shown["last_updated"]) == ("1.1", moment(4))
    assert [(each["version"], each["changes"]) for each in shown["changelog"]] == [
        ("1.1", ["a", "b"]),
        ("1.0", ["version 1.0"]),
    ]
    back = folded(*life, sent("course_version_rolled_back", 5, version="1.1", rollback_version="1.0"))
    assert back["publication"]["version"] == "1.0"
    assert [each["version"] for each in back["publication"]["changelog"]] == ["1.0"]


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (sent("course_version_created", 9, **version("1.0")), "version_exists"),
        (sent("course_version_deployed", 9, version="7"), "version_unknown"),
        (sent("course_version_deployed", 9, version="1.0"), "version_live"),
        (
            sent("course_version_rolled_back", 9, version="1.1", rollback_version="1.0"),
            "version_not_live",
        ),
        (
            sent("course_version_rolled_back", 9, version="1.0", rollback_version="1.1"),
            "version_not_deployed",
        ),
    ],
)
def test_a_version_step_that_makes_no_sense_has_no_effect(step: Document, reason: str) -> None:
    course = folded(
        sent("course_created", 0, **CREATED),
        sent("course_version_created", 1, **version("1.0")),
        sent("course_version_deployed", 2, version="1.0"),
        sent("course_version_created", 3, **version("1.1")),
        step,
    )
    assert [each["reason"] for each in course["without_effect"]["latest"]] == [reason]
    assert course["publication"]["version"] == "1.0"


def test_a_deleted_course_claims_nothing_and_a_restored_one_since_then_at_the_earliest() -> None:
    def claims(*events: Document) -> Document:
        found: Document = folded(sent("course_created", 0, **CREATED), *events)["claims"]
        return found

    deleted, restored = sent("course_deleted", 10), sent("course_restored", 20)
    assert claims(deleted) == {}
    assert claims(deleted, restored)["slug"] == {
        "value": "full-stack",
        "at": moment(20),
        "event_id": UUID(restored["event_id"]),
    }
    assert claims(deleted, restored, sent("course_described", 30, slug="other"))["slug"]["at"] == moment(30)
    assert claims(sent("course_described", 15, slug="other"), restored, deleted)["slug"]["at"] == moment(20)
    assert claims(restored)["slug"]["at"] == moment(0), "it was never deleted: restoring it has no effect"
    assert claims(sent("course_archived", 10))["slug"]["at"] == moment(0)


def test_a_slug_is_claimed_since_it_was_given_without_a_break() -> None:
    def claim(*slugs: str) -> Document:
        events = [sent("course_created", 0, **CREATED)]
        events += [sent("course_described", 10 * n, slug=slug) for n, slug in enumerate(slugs, start=1)]
        claims: Document = folded(*events)["claims"]["slug"]
        return claims

    assert claim()["at"] == moment(0)
    assert claim("full-stack", "full-stack")["at"] == moment(0)
    assert claim("other", "full-stack") == {
        "value": "full-stack",
        "at": moment(20),
        "event_id": claim("other", "full-stack")["event_id"],
    }


def test_a_slug_that_is_said_again_and_again_is_claimed_since_the_first_time() -> None:
    """As by a platform that sends all of a course with whatever it saves; in any order of arrival."""
    again = [sent("course_described", 10 + n, slug="full-stack") for n in range(450)]
    events = [sent("course_created", 0, **CREATED), *again]
    for arrived in (events, events[::-1], [*events[200:], *events[:200]]):
        course = folded(*arrived)
        assert course["claims"]["slug"]["at"] == moment(0)
        assert course["claims"] == expected_course(stored(arrived))["claims"]


@pytest.mark.parametrize("between", [5, 150, 250.5, 449.5])
def test_of_a_course_that_was_called_otherwise_the_last_claims_are_told_apart(between: float) -> None:
    again = [sent("course_described", 10 + n, slug="full-stack") for n in range(450)]
    events = [sent("course_created", 0, **CREATED), sent("course_described", between, slug="other"), *again]
    one, other, third = (folded(*arrived) for arrived in (events, events[::-1], [*events[2:], *events[:2]]))
    assert encoded(content(one)) == encoded(content(other)) == encoded(content(third))
    assert one["claims"] == expected_course(stored(events))["claims"]
    assert one["claims"]["slug"]["at"] == moment(max(260, int(between) + 1))


def test_a_course_that_is_not_created_yet_is_no_document() -> None:
    priced = sent("course_priced", 5, pricing={"type": "free"})
    early = refold(story([priced, sent("course_submitted", 6)]), None, "live")
    assert not has_begun(early)
    assert early["without_effect"]["latest"][0]["reason"] == "not_created"
    [*_, created] = story([priced, sent("course_submitted", 6), sent("course_created", 0, **CREATED)])
    later = fold(early, [created], "live")
    assert has_begun(later)
    assert (later["status"], later["pricing"]) == ("review", {"type": "free"})


def opening(record: Document, at: float, version: int) -> StoredEvent:
    document = opening_of_entity(STREAM, version, record, b"", moment(at), "run")
    return StoredEvent.from_document(stored_document(document))


def test_an_adopted_course_is_what_it_was_whatever_was_said_before() -> None:
    life = {
        "status": "published",
        "created_at": moment(-900),
        "updated_at": moment(-10),
        "deleted_at": None,
        "published_at": moment(-800),
        "version": "3",
        "last_updated": None,
        "next_update_scheduled": None,
        "changelog": [],
    }
    was = {
        "title": "Old",
        "slug": "old",
        "instructor_id": ObjectId(TEACHER),
        "metadata": {"tags": ["x"], "shelf": 4, "duration": {"lectures": 9}},
    }
    before = [sent("course_created", 0, **CREATED, subtitle="gone"), sent("course_archived", 1)]
    after = [
        sent("course_described", 200, metadata={"tags": ["y"], "duration": {"total_minutes": 1}}),
        sent("course_archived", 210),
    ]
    for order in ([*before, None, *after], [None, *before, *after], [*after, None, *before]):
        events = [
            opening({"content": was, "life": life}, 100, place)
            if each is None
            else StoredEvent.from_document(event_of(each, place))
            for place, each in enumerate(order, start=1)
        ]
        course = refold(events, None, "live")
        assert (course["title"], course["subtitle"], course["status"]) == ("Old", None, "archived")
        assert course["metadata"] == {
            "tags": ["y"],
            "shelf": 4,
            "duration": {"lectures": 9, "total_minutes": 1},
        }
        assert course["created_at"] == moment(-900)
        assert course["publication"]["version"] == "3"
        assert course["without_effect"] is None


PRICINGS: Sequence[Document] = [
    {"type": "free"},
    {"type": "paid"},
    {"type": "subscription"},
    {"type": "free", "price": {"amount": "0", "currency": "EUR"}},
    {"type": "paid", "payment_plans": [{"type": "one_time", "price": "1.50"}]},
    {"price": {"amount": "1.50", "currency": "EUR"}},
    {"price": {"amount": "0", "currency": "EUR"}, "payment_plans": [{"type": "one_time", "price": "0"}]},
    {"price": None},
    {"payment_plans": None},
    {"payment_plans": []},
    {"payment_plans": [{"type": "installments", "installments": 2, "price_per_installment": "0.80"}]},
]
_PRICING = st.sampled_from(PRICINGS).map(lambda pricing: {"pricing": pricing})
_AT = st.integers(0, 6)
_TEXT = st.sampled_from(["a", "b", None])
_DRAWN: Mapping[str, st.SearchStrategy[Document]] = {
    "course_created": st.one_of(st.just(CREATED), _PRICING.map(lambda said: {**CREATED, **said})),
    "course_described": st.fixed_dictionaries(
        {},
        optional={
            "title": st.sampled_from(["One", "Two"]),
            "slug": st.sampled_from(["one", "two"]),
            "subtitle": _TEXT,
            "description": st.fixed_dictionaries({}, optional={"short": _TEXT, "html": _TEXT}),
            "metadata": st.fixed_dictionaries(
                {}, optional={"duration": st.just({"total_minutes": 5}), "category": _TEXT}
            ),
            "instructor": st.fixed_dictionaries({}, optional={"bio": _TEXT}),
        },
    ).filter(bool),
    "course_priced": _PRICING,
    "course_location_changed": st.sampled_from(
        [{"location": None}, {"location": {"type": "Point", "coordinates": [1, 2.5]}}]
    ),
    "curriculum_published": st.sampled_from(
        [{"curriculum": []}, {"curriculum": modules(LESSON)}, {"curriculum": modules(LESSON, TEACHER)}]
    ),
    **dict.fromkeys(
        ["course_submitted", "course_published", "course_returned_to_draft", "course_archived"], st.just({})
    ),
    **dict.fromkeys(["course_deleted", "course_restored"], st.just({})),
    "course_version_created": st.sampled_from(["1", "2"]).map(version),
    "course_version_deployed": st.sampled_from([{"version": "1"}, {"version": "2"}]),
    "course_version_rolled_back": st.sampled_from(
        [{"version": "1", "rollback_version": "2"}, {"version": "2", "rollback_version": "1"}]
    ),
}


@st.composite
def histories(draw: st.DrawFn) -> list[Document]:
    kinds = [*sorted(_DRAWN), *["course_priced"] * 4]
    types = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=14))
    numbers = draw(st.permutations(range(1, len(types) + 1)))
    return [
        sent(kind, draw(_AT), number, **draw(_DRAWN[kind]))
        for kind, number in zip(types, numbers, strict=True)
    ]


@given(histories(), st.randoms(use_true_random=False), st.lists(st.integers(1, 13)))
def test_any_order_and_any_split_give_the_same_content(
    history: list[Document], random: Any, cuts: Iterable[int]
) -> None:
    at_once = content(refold(story(history), None, "live"))
    shuffled = list(history)
    random.shuffle(shuffled)
    events = story(shuffled)
    edges = [0, *sorted({cut for cut in cuts if cut < len(events)}), len(events)]
    document: Document | None = None
    for first, end in pairwise(edges):
        if end > first:
            document = fold(document, events[first:end], "live")
            document = stored_document(document)
    assert document is not None
    assert encoded(content(document)) == encoded(at_once)
    if has_begun(document):
        whole = {"_id": COURSE, "rev": 1, **document}
        assert misfits_of(COURSES.target.shapes, whole) == []
        assert misfits_of((Course,), whole) == []


def test_an_event_that_does_not_follow_raises() -> None:
    events = story([sent("course_created", 0, **CREATED), sent("course_submitted", 1)])
    with pytest.raises(ValueError, match="expected version 1"):
        refold(events[1:], None, "live")
