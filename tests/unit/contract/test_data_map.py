"""Every field of every event has a privacy class, and what is personal can be taken apart."""

from pathlib import Path
from typing import Any, Literal

import pytest

from worker.contract.data_class import PERSONAL, PUBLIC
from worker.contract.data_map import DETAILS, class_of, fields_of, paths_of
from worker.contract.data_map_page import page
from worker.contract.events.interactions import INTERACTIONS
from worker.contract.families import FAMILIES
from worker.contract.family import Family, Inlet
from worker.contract.fields import Id, Maybe
from worker.contract.models import ClosedDetails, Details, Envelope, by_type

PAGE = Path(__file__).parents[3] / "docs" / "data-map.md"
families = pytest.mark.parametrize("family", FAMILIES, ids=lambda each: each.name)


@families
def test_every_field_of_every_event_has_a_class(family: Family) -> None:
    assert [(event_type, path) for event_type, path, of in fields_of(family) if of is None] == []


@families
def test_no_class_is_said_of_a_field_that_is_not_there(family: Family) -> None:
    known = {f"{event_type}/{path}" for event_type, path, _ in fields_of(family)}
    known |= {path for _, path, _ in fields_of(family)}
    assert [path for path in family.classes if path not in known] == []


@families
def test_what_is_personal_lies_below_a_key_that_is_taken_out_as_a_whole(family: Family) -> None:
    """Else it would stay in `event_data`, where it can neither be sealed nor erased by itself."""
    for event_type, path, of in fields_of(family):
        if of is PERSONAL and path.startswith(f"{DETAILS}."):
            top = ".".join(path.split(".")[:2])
            assert class_of(family, event_type, top) is PERSONAL, path


class _Step(Details):
    name: str


class _InnerDetails(ClosedDetails):
    steps: list[_Step]
    other: Maybe[_Step] = None
    any_of: dict[str, Any]


class _Tried(Envelope):
    event_type: Literal["tried"]
    course_id: Id
    details: _InnerDetails


def test_fields_are_found_through_lists_and_alternatives_and_open_models_have_further_ones() -> None:
    below = [path for path in paths_of(_Tried) if path.startswith("details")]
    assert sorted(below) == [
        "details",
        "details.any_of",
        "details.other",
        "details.other.*",
        "details.other.name",
        "details.steps",
        "details.steps.*",
        "details.steps.name",
    ]


def test_a_class_holds_for_all_below_its_path_but_not_that_of_details() -> None:
    classes = {"details": PUBLIC, "details.steps": PUBLIC, "tried/details.steps.name": PERSONAL}
    family = Family("tries", Inlet.CONTENT, ("course",), by_type(_Tried), classes)
    assert class_of(family, "tried", "details.steps.*") is PUBLIC
    assert class_of(family, "tried", "details.steps.name") is PERSONAL
    assert class_of(family, "another", "details.steps.name") is PUBLIC
    assert class_of(family, "tried", "details.any_of") is None
    assert class_of(INTERACTIONS, "lesson_note_saved", "details.text") is PERSONAL


def test_the_page_is_made_of_the_families() -> None:
    made = "python -m worker.contract.data_map_page > docs/data-map.md"
    assert PAGE.read_text(encoding="utf-8") == page(), made
