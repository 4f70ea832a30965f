"""Which commands a kill point counts."""

from pathlib import Path

import pytest

from tests.chaos.launcher import Executioner, KillPoint


@pytest.mark.parametrize("text", ["before:insert:course_events:1", "after:update:leases~burns:12"])
def test_a_point_is_what_it_is_written_as(text: str) -> None:
    assert str(KillPoint.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["during:insert:course_events:1", "before:insert:course_events", "x", "before:a:b:c"]
)
def test_what_is_no_point_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        KillPoint.parse(text)


@pytest.mark.parametrize(
    ("point", "command", "collection", "covered"),
    [
        ("before:insert:course_events:1", "insert", "course_events", True),
        ("before:insert:course_events:1", "find", "course_events", False),
        ("before:insert:course_events:1", "insert", "user_progress", False),
        ("before:insert|update:user_progress:1", "update", "user_progress", True),
        ("before:update:leases~burns:1", "update", "leases", True),
        ("before:update:leases~session:1", "update", "leases", False),
        ("after:commit:offsets:1", "commit", "offsets", True),
    ],
)
def test_a_point_covers_its_command_on_its_collection(
    point: str, command: str, collection: str, covered: bool
) -> None:
    assert KillPoint.parse(point).covers(command, collection, lambda: "{'$inc': {'burns': 1}}") is covered


def test_the_text_of_a_command_is_not_made_where_the_point_does_not_need_it() -> None:
    def text() -> str:
        raise AssertionError("asked for")

    assert KillPoint.parse("before:insert:course_events:1").covers("insert", "course_events", text)


def test_only_the_end_of_the_chosen_occurrence_is_awaited(tmp_path: Path) -> None:
    executioner = Executioner(KillPoint.parse("after:insert:course_events:3"), tmp_path / "report")

    assert [executioner.begins() for _ in range(5)] == [False, False, True, False, False]
