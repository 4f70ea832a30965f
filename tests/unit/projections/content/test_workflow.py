"""Every step that does not fit has no effect, says why, and leaves its neighbours alone."""

from typing import Any

import pytest

from projections.content.workflow import (
    CONTENT_WORKFLOW,
    MOST_COMMENTS,
    MOST_STEPS,
    REASONS,
    TOO_MANY,
)
from projections.event import StoredEvent
from projections.without_effect import SHOWN, refused_by_reason
from tests.unit.projections.content.events import ITEM, USER, content_event, folded, oid
from tests.unit.projections.events import moment

STAGES = ("draft", "review", "approval")


def started(at: float = 0, **changes: Any) -> StoredEvent:
    details = {
        "content_id": ITEM,
        "workflow_type": "course_publication",
        "stages": [{"name": name, "assigned_to": USER} for name in STAGES],
    }
    return content_event("workflow_started", at, details=details | changes)


def step(what: str, stage: str = "", at: float = 0, **details: Any) -> StoredEvent:
    event_type = f"workflow_{what}" if what in ("cancelled", "commented") else f"workflow_stage_{what}"
    said = {"stage": stage, **details} if stage else None
    return content_event(event_type, at, **({} if said is None else {"details": said}))


def through(*stages: str, since: float = 10) -> list[StoredEvent]:
    """The steps that complete these stages."""
    return [
        step(what, stage, since + 2 * place + (what == "completed"))
        for place, stage in enumerate(stages)
        for what in ("started", "completed")
    ]


ILLEGAL: dict[str, tuple[list[StoredEvent], StoredEvent]] = {
    "not_started": ([], step("started", "draft", -5)),
    "already_started": ([], started(100, workflow_type="another")),
    "ended": ([step("cancelled", at=50)], step("started", "draft", 100)),
    "unknown_stage": ([], step("started", "polishing", 100)),
    "out_of_order": (through("draft"), step("started", "approval", 100)),
    "already_in_progress": ([step("started", "draft", 10)], step("started", "draft", 100)),
    "already_completed": (through("draft"), step("started", "draft", 100)),
    "not_in_progress": ([], step("completed", "draft", 100)),
    "returns_to_later_stage": (
        [step("started", "draft", 10)],
        step("rejected", "draft", 100, return_to="approval"),
    ),
}


@pytest.mark.parametrize("reason", ILLEGAL)
def test_an_illegal_step_has_no_effect_and_is_listed_with_its_reason(reason: str) -> None:
    before, illegal = ILLEGAL[reason]
    legal = [started(), *before]
    expected, document = folded(CONTENT_WORKFLOW, legal), folded(CONTENT_WORKFLOW, [illegal, *legal])
    assert document["without_effect"] == {
        "total": 1,
        "reasons": {reason: 1},
        "latest": [
            {
                "event_id": illegal.event_id,
                "event_type": illegal.event_type,
                "occurred_at": illegal.occurred_at,
                "reason": reason,
            }
        ],
    }
    assert refused_by_reason(document) == {reason: 1}
    for name in ("content_id", "workflow_type", "status", "stages", "current_stage", "metadata"):
        assert document[name] == expected[name], name


def test_every_reason_is_tried() -> None:
    assert {*ILLEGAL, TOO_MANY} == set(REASONS)


@pytest.mark.parametrize(
    ("illegal", "reason"),
    [
        (step("completed", "review", 100), "not_in_progress"),
        (step("rejected", "review", 100), "not_in_progress"),
        (step("rejected", "draft", 100, return_to="nowhere"), "unknown_stage"),
        (step("assigned", "draft", 100, assigned_to=ITEM), "already_completed"),
        (step("commented", "nowhere", 100, comment="?", author=USER), "unknown_stage"),
    ],
)
def test_further_steps_that_do_not_fit(illegal: StoredEvent, reason: str) -> None:
    legal = [started(), *through("draft")]
    document = folded(CONTENT_WORKFLOW, [*legal, illegal])
    assert refused_by_reason(document) == {reason: 1}
    assert document["stages"] == folded(CONTENT_WORKFLOW, legal)["stages"]


def test_a_step_that_arrives_late_makes_others_fit() -> None:
    document = folded(CONTENT_WORKFLOW, [started(), step("completed", "draft", 20)])
    assert refused_by_reason(document) == {"not_in_progress": 1}
    document = folded(
        CONTENT_WORKFLOW, [started(), step("completed", "draft", 20), step("started", "draft", 10)]
    )
    assert document["without_effect"] is None
    assert (document["stages"][0]["status"], document["current_stage"]) == ("completed", "review")


def test_a_rejection_sends_back_to_an_earlier_stage() -> None:
    to_approval = [started(), *through("draft", "review"), step("started", "approval", 30)]
    document = folded(CONTENT_WORKFLOW, [*to_approval, step("rejected", "approval", 40, return_to="draft")])
    assert [each["status"] for each in document["stages"]] == ["pending", "pending", "rejected"]
    assert document["current_stage"] == "draft"
    again = [*to_approval, step("rejected", "approval", 40), step("started", "approval", 50)]
    assert folded(CONTENT_WORKFLOW, again)["stages"][2]["status"] == "in_progress"


def test_a_workflow_ends_with_its_last_stage() -> None:
    document = folded(CONTENT_WORKFLOW, [started(), *through(*STAGES)])
    assert (document["status"], document["current_stage"]) == ("completed", None)
    assert folded(CONTENT_WORKFLOW, [started(), step("cancelled", at=9)])["status"] == "cancelled"


def test_comments_stand_with_their_stage_whatever_became_of_it() -> None:
    said = step("commented", "draft", 60, comment="Great", author=USER)
    document = folded(CONTENT_WORKFLOW, [started(), step("cancelled", at=50), said])
    assert document["stages"][0]["comments"] == [
        {"comment": "Great", "author": oid(USER), "created_at": moment(60)}
    ]
    assert document["without_effect"] is None


def test_beyond_so_many_steps_the_later_ones_have_no_effect_whatever_their_order() -> None:
    steps = [step("assigned", "draft", 100 + each, due_date=None) for each in range(MOST_STEPS + 30)]
    first = started()
    forwards = folded(CONTENT_WORKFLOW, [first, *steps])
    backwards = folded(CONTENT_WORKFLOW, [*reversed(steps), first])
    assert forwards["without_effect"] == backwards["without_effect"]
    assert refused_by_reason(forwards) == {TOO_MANY: 30}
    assert len(forwards["without_effect"]["latest"]) == SHOWN


def test_the_latest_comments_are_kept() -> None:
    said = [
        step("commented", "draft", each, comment=str(each), author=USER) for each in range(MOST_COMMENTS + 5)
    ]
    kept = folded(CONTENT_WORKFLOW, [started(), *reversed(said)])["stages"][0]["comments"]
    assert [each["comment"] for each in kept] == [str(each) for each in range(5, MOST_COMMENTS + 5)]
