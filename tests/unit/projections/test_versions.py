"""Versions of courses: the same in any order of arrival; steps without effect, and why; snapshots, and moves."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from projections.content.versions import history
from projections.content.versions.fold import VERSIONS_SHOWN
from projections.content.versions.history import REASONS
from projections.content.versions.migration import migrations
from projections.content.versions.projection import COURSE_VERSIONS
from projections.content.versions.snapshots import MOST_CHANGES
from projections.event import StoredEvent
from tests.support.courses import CREATED, LESSON, TEACHER, event_of, modules, moment, sent, story, version
from tests.unit.projections.test_courses import PRICINGS, opening
from worker.storage.database import Document
from worker.verify.shapes import misfits_of

PARTS = COURSE_VERSIONS.parts
assert PARTS is not None
BORN = sent("course_created", 0, **CREATED)
OTHER = "65a4f0c2e13b7a0001bbbbbc"


def made(document: Mapping[str, Any], events: Sequence[StoredEvent]) -> dict[str, Document]:
    """The versions that a history names, by label."""
    assert PARTS is not None
    ordered = sorted(
        (each for each in events if not each.is_void), key=lambda each: (each.occurred_at, each.event_id)
    )
    due, carry, found = PARTS.named(document).keys(), None, list[Document]()
    for event in ordered:
        carry, some = PARTS.make(document, due, carry, [event])
        found += some
    assert {each["_id"] for each in found} == due
    return {each["version"]: each for each in found}


def told(*events: Document) -> tuple[Document, dict[str, Document]]:
    arrived = story(events)
    document = COURSE_VERSIONS.refold(arrived, None, "live")
    return document, made(document, arrived)


def content(document: Mapping[str, Any]) -> Document:
    """What may not depend on how events arrived."""
    shown = {name: each for name, each in document.items() if name not in ("version", "recorded_at")}
    arrival = ("seen", "late")
    steps = [{n: v for n, v in each.items() if n not in arrival} for each in shown["state"]["steps"]]
    return {**shown, "state": steps}


def reasons(document: Mapping[str, Any]) -> Mapping[str, int]:
    said = document["without_effect"]
    return {} if said is None else said["reasons"]


def created(at: float, label: str, **more: Any) -> Document:
    return sent("course_version_created", at, **{**version(label), **more})


def deployed(at: float, label: str) -> Document:
    return sent("course_version_deployed", at, version=label)


def rolled_back(at: float, label: str, former: str) -> Document:
    return sent("course_version_rolled_back", at, version=label, rollback_version=former)


_LABEL = st.sampled_from(["1", "2"])
_STEPS: Mapping[str, st.SearchStrategy[Document]] = {
    "course_created": st.just(CREATED),
    "course_described": st.fixed_dictionaries({"subtitle": st.sampled_from(["a", "b", None])}),
    "curriculum_published": st.sampled_from([[LESSON], [OTHER, LESSON]]).map(
        lambda lessons: {"curriculum": modules(*lessons)}
    ),
    "course_priced": st.sampled_from(PRICINGS).map(lambda pricing: {"pricing": pricing}),
    "course_deleted": st.just({}),
    "course_restored": st.just({}),
    "course_version_created": _LABEL.map(version),
    "course_version_approved": _LABEL.map(lambda label: {"version": label, "approved_by": TEACHER}),
    "course_version_deployed": _LABEL.map(lambda label: {"version": label}),
    "course_version_rolled_back": st.sampled_from(["12", "21"]).map(
        lambda both: {"version": both[0], "rollback_version": both[1]}
    ),
}
_KINDS = st.sampled_from([*sorted(_STEPS), *[kind for kind in sorted(_STEPS) if "version" in kind] * 2])


@st.composite
def lives(draw: st.DrawFn) -> list[Document]:
    """Steps of a course that was created, most of them about its versions."""
    kinds = draw(st.lists(_KINDS, min_size=2, max_size=14))
    numbers = draw(st.permutations(range(2, len(kinds) + 2)))
    steps = [
        sent(kind, draw(st.integers(1, 9)), number, **draw(_STEPS[kind]))
        for kind, number in zip(kinds, numbers, strict=True)
    ]
    return [*steps, sent("course_created", draw(st.integers(0, 2)), 1, **CREATED)]


@given(lives(), st.randoms(use_true_random=False), st.lists(st.integers(1, 13)), st.booleans())
def test_any_order_and_any_split_give_the_same_versions(
    events: list[Document], random: Any, cuts: list[int], few: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if few:
            patch.setattr(history, "MOST_STEPS", 3)
        arrived = story(events)
        whole = COURSE_VERSIONS.refold(arrived, None, "live")
        parts = made(whole, arrived)
        assert misfits_of(COURSE_VERSIONS.target.shapes, {"_id": whole["entity_id"], "rev": 1, **whole}) == []

        edges = sorted({0, len(arrived), *(cut for cut in cuts if cut < len(arrived))})
        document: Document | None = None
        for first, last in pairwise(edges):
            document = COURSE_VERSIONS.fold(document, arrived[first:last], "live")
        assert document == whole

        shuffled = list(events)
        random.shuffle(shuffled)
        other = COURSE_VERSIONS.refold(story(shuffled), None, "live")
        assert content(other) == content(whole)
        assert made(other, story(shuffled)) == parts


@given(lives(), st.randoms(use_true_random=False), st.booleans())
def test_whatever_changes_a_version_is_told_by_what_made_it(
    events: list[Document], random: Any, few: bool
) -> None:
    """Else the executor would not make it again."""
    assert PARTS is not None
    random.shuffle(events)
    with pytest.MonkeyPatch.context() as patch:
        if few:
            patch.setattr(history, "MOST_STEPS", 3)
        arrived = story(events)
        known: dict[ObjectId, int] = {}
        before: dict[ObjectId, Document] = {}
        for last in range(1, len(arrived) + 1):
            document = COURSE_VERSIONS.refold(arrived[:last], None, "live")
            named = PARTS.named(document)
            parts = {each["_id"]: each for each in made(document, arrived[:last]).values()}
            for identity, part in parts.items():
                assert named[identity] <= last
                if identity in before:
                    assert named[identity] >= known[identity]
                    assert part == before[identity] or named[identity] > known[identity]
            known, before = dict(named), parts


def test_a_version_is_the_course_as_it_was_and_tells_what_changed() -> None:
    document, versions = told(
        BORN,
        sent("curriculum_published", 1, curriculum=modules(LESSON)),
        created(2, "1.0", type="major", breaking_changes=["a"], approved_by=TEACHER),
        sent("curriculum_published", 3, curriculum=modules(LESSON, OTHER)),
        sent("course_described", 4, title="Fuller Stack"),
        created(5, "1.1", migration_required=True),
        sent("course_described", 6, title="Fullest Stack"),
    )
    first, second = versions["1.0"], versions["1.1"]
    assert [each["version"] for each in document["versions"]] == ["1.1", "1.0"]
    assert first["course_snapshot"]["title"] == "Full Stack"
    assert second["course_snapshot"]["title"] == "Fuller Stack"
    assert second["course_snapshot"]["slug"] == "full-stack"
    assert len(first["course_snapshot"]["curriculum"][0]["lessons"]) == 1
    assert [(each["action"], each["path"]) for each in second["changes"]["detailed_changes"]] == [
        ("update", "title"),
        ("add", "curriculum.0.lessons"),
    ]
    title, lessons = second["changes"]["detailed_changes"]
    assert (title["timestamp"], lessons["timestamp"]) == (moment(4), moment(3))
    assert lessons["author"] == ObjectId(TEACHER)
    assert first["metadata"] == {
        "created_by": ObjectId(TEACHER),
        "approved_by": ObjectId(TEACHER),
        "migration_required": False,
        "backward_compatible": False,
        "breaking_changes": ["a"],
    }
    assert (first["deployment"]["status"], second["deployment"]["status"]) == ("testing", "draft")
    assert second["metadata"]["migration_required"]
    for each in versions.values():
        placed = {"rev": 1, "stream_id": "s", "slot": 1, "event_version": 1, "projection_version": 1}
        assert misfits_of(PARTS.target.shapes if PARTS else (), {**each, **placed}) == []


def test_an_event_that_arrives_late_changes_the_versions_after_it_and_no_other() -> None:
    on_time = (BORN, created(10, "1"), created(20, "2"), created(30, "3"))
    late = sent("course_described", 15, subtitle="late")
    before, after = told(*on_time)[1], told(*on_time, late)[1]
    assert after["1"] == before["1"]
    assert [after[each]["course_snapshot"].get("subtitle") for each in "123"] == [None, "late", "late"]
    assert [each["path"] for each in after["2"]["changes"]["detailed_changes"]] == ["subtitle"]
    assert after["3"]["changes"]["detailed_changes"] == []


def test_a_rollback_restores_which_version_is_current() -> None:
    steps = (BORN, created(1, "1.0"), deployed(2, "1.0"), created(3, "2.0"), deployed(4, "2.0"))
    document, versions = told(*steps)
    assert document["current_version"] == "2.0"
    assert [each["status"] for each in document["versions"]] == ["current", "archived"]
    assert versions["2.0"]["deployment"] == {
        "status": "deployed",
        "deployed_at": moment(4),
        "rollback_version": "1.0",
    }
    document, versions = told(*steps, rolled_back(5, "2.0", "1.0"))
    assert document["current_version"] == "1.0"
    assert [each["status"] for each in document["versions"]] == ["rolled_back", "current"]
    assert [versions[each]["deployment"]["status"] for each in ("1.0", "2.0")] == ["deployed", "rolled_back"]
    back, again = told(*steps, rolled_back(5, "2.0", "1.0"), rolled_back(6, "1.0", "2.0"))
    assert [again[each]["deployment"]["status"] for each in ("1.0", "2.0")] == ["rolled_back", "deployed"]
    identity = again["2.0"]["_id"]
    assert PARTS is not None
    assert PARTS.named(back)[identity] > PARTS.named(document)[identity]


BEFORE = (BORN, created(1, "1.0"), created(2, "2.0"), deployed(3, "1.0"))
WRONG: Mapping[str, tuple[Iterable[Document], Document]] = {
    "not_created": ((), created(4, "3.0")),
    "deleted": ((*BEFORE, sent("course_deleted", 4)), created(5, "3.0")),
    "version_exists": (BEFORE, sent("course_version_created", 5, 99, **version("1.0", "again"))),
    "version_unknown": (BEFORE, deployed(5, "9.9")),
    "version_live": (BEFORE, deployed(5, "1.0")),
    "version_not_live": (BEFORE, rolled_back(5, "2.0", "1.0")),
    "version_not_deployed": (BEFORE, rolled_back(5, "1.0", "2.0")),
}


@pytest.mark.parametrize("reason", REASONS)
def test_what_is_wrong_only_beside_others_has_no_effect_and_a_reason(reason: str) -> None:
    before, wrong = WRONG[reason]
    right, versions = told(*before) if before else (None, {})
    document, with_it = told(*before, wrong)
    assert reasons(document) == {reason: 1}
    assert document["without_effect"]["latest"][0]["event_type"] == wrong["event_type"]
    assert with_it == versions
    if right is not None:
        shown = ("versions", "versions_total", "current_version")
        assert [document[each] for each in shown] == [right[each] for each in shown]


def test_a_version_of_a_course_that_turns_out_to_have_been_deleted_is_none() -> None:
    document, versions = told(BORN, created(10, "1"), created(20, "2"), sent("course_deleted", 15))
    assert [*versions] == ["1"]
    assert reasons(document) == {"deleted": 1}


def test_learners_are_moved_for_what_asks_for_it_and_back() -> None:
    document, versions = told(
        BORN,
        created(1, "1.0"),
        deployed(2, "1.0"),
        created(3, "2.0", migration_required=True),
        deployed(4, "2.0"),
        created(5, "2.1"),
        deployed(6, "2.1"),
        rolled_back(7, "2.1", "1.0"),
        deployed(8, "2.1"),
    )
    asked = migrations(document)
    assert [(each.version, each.rolled_back, each.at) for each in asked] == [
        ("2.0", False, moment(4)),
        ("1.0", True, moment(7)),
        ("2.1", False, moment(8)),
    ]
    assert [each.snapshot_id for each in asked] == [versions[each]["_id"] for each in ("2.0", "1.0", "2.1")]


def test_learners_are_moved_back_to_the_version_that_they_had_when_the_course_was_adopted() -> None:
    life = {"status": "published", "created_at": moment(-900), "updated_at": moment(-10), "version": "1.0"}
    was = {"title": "Old", "instructor_id": ObjectId(TEACHER)}
    later = [
        created(201, "2.0", migration_required=True),
        deployed(202, "2.0"),
        rolled_back(203, "2.0", "1.0"),
        deployed(204, "2.0"),
    ]
    events = [StoredEvent.from_document(event_of(each, place)) for place, each in enumerate(later, start=2)]
    adopted = opening({"content": was, "life": life}, 100, 1)
    document = COURSE_VERSIONS.refold([adopted, *events], None, "live")
    assert [(each.version, each.rolled_back, each.at) for each in migrations(document)] == [
        ("2.0", False, moment(202)),
        ("1.0", True, moment(203)),
        ("2.0", False, moment(204)),
    ]


def test_the_history_names_the_newest_versions_and_counts_all() -> None:
    more = VERSIONS_SHOWN + 5
    document, versions = told(BORN, *(created(number + 1, f"v{number}") for number in range(more)))
    assert [each["version"] for each in document["versions"]][:2] == [f"v{more - 1}", f"v{more - 2}"]
    assert (len(document["versions"]), document["versions_total"], len(versions)) == (
        VERSIONS_SHOWN,
        more,
        more,
    )


def test_a_course_without_versions_has_no_history_of_them() -> None:
    events = story([BORN, sent("course_submitted", 1)])
    assert not COURSE_VERSIONS.has_begun(COURSE_VERSIONS.refold(events, None, "live"))


def test_so_many_changes_are_told_and_all_are_counted() -> None:
    lessons = [f"{number:024x}" for number in range(1, MOST_CHANGES + 11)]
    first, second = ([dict(each) for each in modules(*lessons)] for _ in range(2))
    second[0]["lessons"] = [{**each, "title": "Better"} for each in second[0]["lessons"]]
    _, versions = told(
        BORN,
        sent("curriculum_published", 1, curriculum=first),
        created(2, "1"),
        sent("curriculum_published", 3, curriculum=second),
        created(4, "2"),
    )
    changes = versions["2"]["changes"]
    assert (len(changes["detailed_changes"]), changes["total"]) == (MOST_CHANGES, MOST_CHANGES + 10)
