"""Every step in every situation: what fits has its effect; what does not is named, with its reason, and does nothing.

The tables are those of docs/projections.md and docs/content.md. A dash is a step that has its effect, `=` one that
says what was said before: nothing is wrong with it, and nothing changes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pytest
from bson import ObjectId

from projections.billing import BILLING
from projections.content.courses.pricing import PRICE_UNLIKE_TYPE
from projections.content.courses.projection import COURSES
from projections.content.versions.projection import COURSE_VERSIONS
from projections.content.workflow import CONTENT_WORKFLOW
from projections.event import StoredEvent
from projections.kinds import Document, StreamProjection
from projections.promotions import PROMOTIONS
from projections.without_effect import refused_by_reason
from tests.support.courses import CREATED, TEACHER, sent, story, version
from tests.support.money import LATER, created, failed, made, part, promoted, refund
from tests.unit.projections.content.events import USER
from tests.unit.projections.content.test_workflow import started, step, through
from tests.unit.projections.events import arrive

Make = Callable[[], StoredEvent]
Table = Mapping[str, tuple[Sequence[StoredEvent], str]]
"""By situation the events that lead to it, and a word for each step."""

# Whatever has no effect is listed, was the last that happened, and is kept; all other fields stay.
_BESIDE = ("version", "recorded_at", "without_effect", "state", "updated_at")
OTHER = ObjectId("5f0000000000000000000077")


def course(event_type: str, at: float, **details: Any) -> StoredEvent:
    [event] = story([sent(event_type, at, **details)])
    return event


def versions(*steps: tuple[str, str]) -> list[StoredEvent]:
    """A course with steps of its versions, one after the other."""
    events = [course("course_created", 0, **CREATED)]
    for at, (what, label) in enumerate(steps, start=1):
        said = version(label) if what == "created" else {"version": label}
        events.append(course(f"course_version_{what}", at, **said))
    return events


def rolled_back(label: str, former: str) -> StoredEvent:
    return course("course_version_rolled_back", 90, version=label, rollback_version=former)


CREATION = course("course_created", 0, **CREATED)
SUBMITTED, PUBLISHED = course("course_submitted", 1), course("course_published", 2)

COURSE_STEPS: Mapping[str, Make] = {
    "created": lambda: course("course_created", 90, **CREATED),
    "submitted": lambda: course("course_submitted", 90),
    "published": lambda: course("course_published", 90),
    "returned": lambda: course("course_returned_to_draft", 90),
    "archived": lambda: course("course_archived", 90),
    "deleted": lambda: course("course_deleted", 90),
    "restored": lambda: course("course_restored", 90),
    "version": lambda: course("course_version_created", 90, **version("9")),
}
COURSE_TABLE: Table = {
    "nothing": ([], "- " + "not_created " * 7),
    "draft": ([CREATION], "created_already - wrong_status wrong_status - - not_deleted -"),
    "review": ([CREATION, SUBMITTED], "created_already wrong_status - - - - not_deleted -"),
    "published": (
        [CREATION, SUBMITTED, PUBLISHED],
        "created_already wrong_status - - - - not_deleted -",
    ),
    "archived": (
        [CREATION, course("course_archived", 1)],
        "created_already wrong_status wrong_status - wrong_status - not_deleted -",
    ),
    "deleted": (
        [CREATION, course("course_deleted", 1)],
        "created_already deleted deleted deleted deleted deleted - deleted",
    ),
}

VERSION_STEPS: Mapping[str, Make] = {
    "created 1": lambda: course("course_version_created", 90, **version("1")),
    "created 2": lambda: course("course_version_created", 90, **version("2")),
    "approved 1": lambda: course("course_version_approved", 90, version="1", approved_by=TEACHER),
    "approved 2": lambda: course("course_version_approved", 90, version="2", approved_by=TEACHER),
    "deployed 1": lambda: course("course_version_deployed", 90, version="1"),
    "deployed 2": lambda: course("course_version_deployed", 90, version="2"),
    "back from 2 to 1": lambda: rolled_back("2", "1"),
    "back from 1 to 2": lambda: rolled_back("1", "2"),
}
_BOTH = [("created", "1"), ("deployed", "1"), ("created", "2")]
VERSION_TABLE: Table = {
    "none": (versions(), "- - " + "version_unknown " * 6),
    "1 is a draft": (
        versions(("created", "1")),
        "version_exists - - version_unknown - version_unknown version_unknown version_not_live",
    ),
    "1 is live": (
        versions(("created", "1"), ("deployed", "1")),
        "version_exists - - version_unknown version_live version_unknown version_unknown version_not_deployed",
    ),
    "1 is live, 2 a draft": (
        versions(*_BOTH),
        "version_exists version_exists - - version_live - version_not_live version_not_deployed",
    ),
    "2 is live after 1": (
        versions(*_BOTH, ("deployed", "2")),
        "version_exists version_exists - - - version_live - version_not_live",
    ),
}

WORKFLOW_STEPS: Mapping[str, Callable[[str], StoredEvent]] = {
    "start": lambda _: started(90),
    "begin": lambda stage: step("started", stage, 90),
    "complete": lambda stage: step("completed", stage, 90),
    "reject": lambda stage: step("rejected", stage, 90),
    "send to a later one": lambda stage: step("rejected", stage, 90, return_to="approval"),
    "assign": lambda stage: step("assigned", stage, 90, assigned_to=str(OTHER)),
    "cancel": lambda _: step("cancelled", at=90),
    "comment": lambda stage: step("commented", stage, 90, comment="?", author=USER),
    "begin an unknown one": lambda _: step("started", "polishing", 90),
}
_NIP = "not_in_progress"
_BEGUN = [started(), step("started", "draft", 10)]
WORKFLOW_TABLE: Mapping[str, tuple[Sequence[StoredEvent], str, str]] = {
    "no workflow": ([], "draft", "- " + "not_started " * 8),
    "first is pending": (
        [started()],
        "draft",
        f"already_started - {_NIP} {_NIP} {_NIP} - - - unknown_stage",
    ),
    "second, first is pending": (
        [started()],
        "review",
        f"already_started out_of_order {_NIP} {_NIP} {_NIP} - - - unknown_stage",
    ),
    "in progress": (
        _BEGUN,
        "draft",
        "already_started already_in_progress - - returns_to_later_stage - - - unknown_stage",
    ),
    "completed": (
        [started(), *through("draft")],
        "draft",
        f"already_started already_completed {_NIP} {_NIP} {_NIP} already_completed - - unknown_stage",
    ),
    "rejected": (
        [*_BEGUN, step("rejected", "draft", 11)],
        "draft",
        f"already_started - {_NIP} {_NIP} {_NIP} - - - unknown_stage",
    ),
    "all is completed": (
        [started(), *through("draft", "review", "approval")],
        "draft",
        "already_started ended ended ended ended ended ended - ended",
    ),
    "cancelled": (
        [*_BEGUN, step("cancelled", at=50)],
        "draft",
        "already_started ended ended ended ended ended ended - ended",
    ),
}

BILLING_STEPS: Mapping[str, Make] = {
    "paid": lambda: made(90),
    "paid at another price": lambda: made(90, "99.99"),
    "failed": lambda: failed(90),
    "first part": lambda: part(1, 90),
    "first part at another price": lambda: part(1, 90, "60"),
    "second part": lambda: part(2, 90),
    "second part of four": lambda: part(2, 90, of=4),
    "refunded": lambda: refund(90),
    "refunded above it": lambda: refund(90, "1000"),
    "paid by another": lambda: made(90, user=OTHER),
    "paid for another course": lambda: made(90, course=OTHER),
    "refunded in euro": lambda: refund(90, "9", currency="EUR"),
}
_PARTS = "paid_in_instalments paid_in_instalments"
_ONCE = "paid_at_once paid_at_once paid_at_once paid_at_once"
_OTHERS = "other_user other_course other_currency"
BILLING_TABLE: Table = {
    "nothing": ([], "- - - - - - - nothing_paid nothing_paid - - nothing_paid"),
    "failed": (
        [failed()],
        "- - - - - - - nothing_paid nothing_paid other_user other_course nothing_paid",
    ),
    "one of three parts": (
        [part(1)],
        f"{_PARTS} - = paid_twice - other_plan - above_paid {_OTHERS}",
    ),
    "paid": ([made()], f"= other_amount paid_already {_ONCE} - above_paid {_OTHERS}"),
    "all three parts": (
        [part(1), part(2, 1), part(3, 2)],
        f"{_PARTS} paid_already = paid_twice = other_plan - above_paid {_OTHERS}",
    ),
    "refunded in part": (
        [made(), refund(10, "9.99")],
        f"= other_amount paid_already {_ONCE} - above_paid {_OTHERS}",
    ),
    "refunded": (
        [made(), refund(10)],
        f"= other_amount paid_already {_ONCE} refunded_already refunded_already {_OTHERS}",
    ),
    "one part, refunded": (
        [part(1), refund(10)],
        f"{_PARTS} paid_already = paid_twice refunded_already other_plan refunded_already refunded_already "
        + _OTHERS,
    ),
}

PROMOTION_STEPS: Mapping[str, Make] = {
    "created": lambda: created(90, code="OTHER"),
    "changed": lambda: promoted("promotion_changed", 90, code="OTHER"),
    "moved behind its end": lambda: promoted("promotion_changed", 90, starts_at=LATER),
    "ended": lambda: promoted("promotion_ended", 90),
}
PROMOTION_TABLE: Table = {
    "nothing": ([], "- not_created not_created not_created"),
    "created": ([created()], "created_already - starts_after_its_end -"),
    "ended": (
        [created(), promoted("promotion_ended", 10)],
        "created_already ended_already ended_already ended_already",
    ),
}


def _cells(projections: Sequence[StreamProjection], steps: Mapping[str, Make], table: Table) -> Iterator[Any]:
    for situation, (before, words) in table.items():
        expected = words.split()
        assert len(expected) == len(steps), situation
        for (name, make), word in zip(steps.items(), expected, strict=True):
            for each in projections:
                yield pytest.param(each, before, make(), word, id=f"{each.name}: {situation}, {name}")


def _all_cells() -> Iterator[Any]:
    yield from _cells([COURSES], COURSE_STEPS, COURSE_TABLE)
    yield from _cells([COURSES, COURSE_VERSIONS], VERSION_STEPS, VERSION_TABLE)
    for situation, (before, stage, words) in WORKFLOW_TABLE.items():
        steps = {name: partial(make, stage) for name, make in WORKFLOW_STEPS.items()}
        yield from _cells([CONTENT_WORKFLOW], steps, {situation: (before, words)})
    yield from _cells([BILLING], BILLING_STEPS, BILLING_TABLE)
    yield from _cells([PROMOTIONS], PROMOTION_STEPS, PROMOTION_TABLE)


@pytest.mark.parametrize(("projection", "before", "taken", "word"), list(_all_cells()))
def test_a_step_has_its_effect_or_its_reason(
    projection: StreamProjection, before: Sequence[StoredEvent], taken: StoredEvent, word: str
) -> None:
    """Whether it arrives last or first."""
    last, first = (_document(projection, some) for some in ([*before, taken], [taken, *before]))

    assert _apart(last) == _apart(first)
    for document in (last, first):
        assert refused_by_reason(document) == ({} if word in "-=" else {word: 1})
    if before and word != "-":
        assert _apart(last) == _apart(_document(projection, before)), "nothing else changes"


def test_every_reason_there_is_stands_in_a_table() -> None:
    """But that of a workflow with too many steps, and that of prices, which are none: each has tests of its own."""
    tried = {each.values[3] for each in _all_cells()} - {"-", "="}
    known = {
        reason
        for projection in (COURSES, COURSE_VERSIONS, CONTENT_WORKFLOW, BILLING, PROMOTIONS)
        for reason in projection.reasons
    }
    assert known - tried == {"too_many_steps", PRICE_UNLIKE_TYPE}
    assert tried <= known


def _document(projection: StreamProjection, events: Sequence[StoredEvent]) -> Document:
    return projection.refold(arrive(events), None, "live")


def _apart(document: Document) -> Document:
    return {name: value for name, value in document.items() if name not in _BESIDE}
