"""Which commands a kill point counts."""

from pathlib import Path

import pytest

from tests.chaos.fault_injector import FaultInjector, KillPoint


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
        ("before:update:leases/partition/inc.burns:1", "update", "leases", True),
        ("before:update:leases/partition/set.session:1", "update", "leases", False),
        ("after:commit:offsets:1", "commit", "offsets", True),
    ],
)
def test_a_point_covers_its_command_on_its_collection(
    point: str, command: str, collection: str, covered: bool
) -> None:
    sent = {command: collection, "updates": [{"q": {"_id": "partition:t:1"}, "u": {"$inc": {"burns": 1}}}]}
    assert KillPoint.parse(point).covers(command, sent) is covered


def test_only_the_end_of_the_chosen_occurrence_is_awaited(tmp_path: Path) -> None:
    injector = FaultInjector(KillPoint.parse("after:insert:course_events:3"), tmp_path / "report")

    assert [injector.begins() for _ in range(5)] == [False, False, True, False, False]
