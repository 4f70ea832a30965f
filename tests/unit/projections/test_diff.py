"""What changed between two snapshots is told by what modules and lessons are, not by where they stand."""

from collections.abc import Mapping
from typing import Any

from bson import ObjectId

from projections.content.versions.diff import changes


def lesson(number: int, **more: Any) -> dict[str, Any]:
    return {
        "_id": ObjectId(f"{number:024x}"),
        "title": f"L{number}",
        "type": "video",
        "order": number,
        **more,
    }


def module(number: int, *lessons: dict[str, Any], **more: Any) -> dict[str, Any]:
    identity = ObjectId(f"{1_000 + number:024x}")
    return {"_id": identity, "title": f"M{number}", "order": number, "lessons": [*lessons], **more}


def told(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [(each.action, each.path, each.description) for each in changes(before, after)]


def of_modules(before: list[Any], after: list[Any]) -> list[tuple[str, str, str]]:
    return told({"curriculum": before}, {"curriculum": after})


def test_equal_snapshots_have_no_changes() -> None:
    course = {"title": "t", "curriculum": [module(1, lesson(1))]}
    assert told(course, {**course, "curriculum": [module(1, lesson(1))]}) == []


def test_lessons_that_are_added_are_one_change_of_their_list_and_move_nothing_else() -> None:
    before = [module(1, lesson(1)), module(2), module(3, lesson(2), lesson(3))]
    later = [lesson(number, order=number + 3) for number in (2, 3)]
    after = [*before[:2], module(3, lesson(7, order=1), lesson(8, order=2), lesson(9, order=3), *later)]
    assert of_modules(before, after) == [
        ("add", "curriculum.2.lessons", "3 lessons ('L7', 'L8', 'L9') added")
    ]


def test_the_content_of_a_lesson_changes_as_a_whole_at_its_newer_place() -> None:
    old, new = (lesson(3, content={"video_url": each, "resources": [{"title": "r"}]}) for each in ("a", "b"))
    before = [module(1, lesson(1), lesson(2), old)]
    after = [module(9), module(1, lesson(5), lesson(1), lesson(2), new)]
    assert of_modules(before, after) == [
        ("add", "curriculum", "1 module ('M9') added"),
        ("add", "curriculum.1.lessons", "1 lesson ('L5') added"),
        ("update", "curriculum.1.lessons.3.content", "content of 'L3' changed"),
    ]


def test_a_lesson_that_moves_to_another_module_is_neither_new_nor_gone() -> None:
    before = [module(1, lesson(1), lesson(2)), module(2, lesson(3))]
    after = [module(1, lesson(1)), module(2, lesson(3), lesson(2, title="better"))]
    assert of_modules(before, after) == [
        ("update", "curriculum.1.lessons.1", "'better' moved here from curriculum.0.lessons"),
        ("update", "curriculum.1.lessons.1.title", "title of 'better' changed from L2 to better"),
    ]
    split = [module(1, lesson(1)), module(2, lesson(3)), module(3, lesson(2), lesson(4))]
    assert of_modules(before, split) == [
        ("add", "curriculum", "1 module with 1 lesson ('M3') added"),
        ("update", "curriculum.2.lessons.0", "'L2' moved here from curriculum.0.lessons"),
    ]


def test_what_is_gone_is_told_by_its_older_place_and_another_order_once() -> None:
    before = [module(1, lesson(1), lesson(2), lesson(3)), module(2, lesson(4))]
    after = [module(1, lesson(3, order=1), lesson(1, order=2))]
    assert of_modules(before, after) == [
        ("remove", "curriculum", "1 module with 1 lesson ('M2') removed"),
        ("remove", "curriculum.0.lessons", "1 lesson ('L2') removed"),
        ("update", "curriculum.0.lessons", "another order of 2 lessons"),
    ]
    swapped = [module(1, lesson(1, order=2), lesson(2, order=1), lesson(3)), module(2, lesson(4))]
    assert of_modules(before, swapped) == [("update", "curriculum.0.lessons", "another order of 3 lessons")]


def test_other_fields_are_told_down_to_the_part_that_is_one_value() -> None:
    before = {"metadata": {"tags": ["a"], "duration": {"total_minutes": 60}}, "subtitle": "s", "seo": {}}
    after = {
        "metadata": {"tags": ["a", "b"], "duration": {"total_minutes": 90}},
        "title": "t" * 80,
        "seo": {},
    }
    assert told(before, after) == [
        ("update", "metadata.tags", "tags changed"),
        ("update", "metadata.duration.total_minutes", "total minutes changed from 60 to 90"),
        ("add", "title", "title added"),
        ("remove", "subtitle", "subtitle removed"),
    ]


def test_of_many_only_the_first_are_named() -> None:
    after = [module(1, *(lesson(number) for number in range(1, 9)))]
    [(_, _, description)] = of_modules([module(1)], after)
    assert description == "8 lessons ('L1', 'L2', 'L3', 'L4', 'L5', 3 more) added"
