"""Leases in words: whose they are, by the process and not by the role, and what nobody holds."""

from datetime import UTC, datetime
from typing import Any

from worker.operate.held_leases import GroupsHeld, JobHeld, PartitionsHeld, process_in, summed

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def group(number: int, owner: str | None, *, watcher: str = "progress", live: bool = True) -> dict[str, Any]:
    return {"_id": f"{watcher}:{number:02}", "kind": "group", "owner": owner, "live": live}


def test_groups_are_told_by_watcher_and_process() -> None:
    leases = summed(
        [
            *(group(number, "pod-a:7:11aa") for number in range(3)),
            group(3, "pod-b:7:22bb"),
            group(4, "pod-b:7:22bb", live=False),
            group(5, None, live=False),
            group(0, "pod-a:7:33cc", watcher="retry"),
        ]
    )

    assert leases.groups == [
        GroupsHeld("progress", 6, {"pod-a:7": 3, "pod-b:7": 1}),
        GroupsHeld("retry", 1, {"pod-a:7": 1}),
    ]
    assert [each.nobodys for each in leases.groups] == [2, 0]
    assert leases.of("pod-a:7") == ["progress 3", "retry"]
    assert leases.of("pod-c:7") == []


def test_a_job_is_told_while_somebody_holds_its_lease() -> None:
    job = {"_id": "job:counts", "kind": "job", "who": "anna@ops", "run": "r-1", "since": NOW, "owner": "x"}

    assert summed([{**job, "live": True}]).jobs == [JobHeld("counts", "anna@ops", "r-1", NOW)]
    assert summed([{**job, "live": False}, {**job, "live": True, "owner": None}]).jobs == []


def test_partitions_are_told_by_topic_with_what_the_store_lacks() -> None:
    rows = [
        {"_id": f"partition:events:v1:{number}", "kind": "partition", "missing": gaps}
        for number, gaps in enumerate(
            [[], [{"first_offset": 10, "last_offset": 19}, {"first_offset": 30, "last_offset": 30}]]
        )
    ]

    assert summed(rows).partitions == [PartitionsHeld("events:v1", 2, 11)]


def test_documents_that_make_no_sense_are_passed_over() -> None:
    assert summed([{"_id": 7, "kind": "else"}, {"_id": "x"}]) == summed([])


def test_the_process_of_an_owner_is_host_and_number() -> None:
    assert process_in("pod-a:7:11aa") == "pod-a:7"
    assert process_in("test") == "test"
