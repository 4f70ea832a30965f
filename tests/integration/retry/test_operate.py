"""What operators do with the queue, through the functions and through the command line."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId

from tests.conftest import RunningMongo
from tests.support.retry import Run, command_line, item, put, stored, with_status
from worker.app.exits import ExitCode
from worker.retry.operate import discard_items, find_items, item_fingerprint, retry_items
from worker.retry.selection import Selection
from worker.storage.database import Database, Document

STREAM = "course_5f1d7f3e9d1c4b0001a0c001_user_5f1d7f3e9d1c4b0001a0d001"


@pytest.fixture
def run(database: Database, mongodb: RunningMongo) -> Run:
    """`sevenp-worker queue` on this test's database."""
    return command_line("queue", mongodb_uri=mongodb.uri, database_prefix=database.prefix)


@pytest.fixture
async def queue(database: Database) -> dict[str, Document]:
    """One failed, one waiting, one in hand, one done, one of the platform."""
    now = datetime.now(UTC)
    key_error = {"error_class": "KeyError", "last_error": "KeyError in fold (a.py:3)"}
    items = [
        item(f"progress:{STREAM}", STREAM, status="failed", retry_count=3, **key_error),
        item("waiting", "s2", retry_count=1, due_at=now + timedelta(hours=1), **key_error),
        item("held", "s3", status="processing", retry_count=1, lease_until=now + timedelta(hours=1)),
        item("done", "s4", status="completed", processed_at=now),
        item("old", "s5", status="failed", created_at=now - timedelta(days=3), error_class="ValueError"),
    ]
    platform = {
        "event_type": "progress_updated",
        "data": {},
        "status": "pending",
        "retry_count": 0,
        "created_at": now,
    }
    items.append({"_id": ObjectId("5f1d7f3e9d1c4b0001a0c001"), **platform})
    await put(database, items)
    return {str(each["_id"]): each for each in await everything(database)}


async def everything(database: Database) -> list[Document]:
    return await database.analytics_queue.find({}).sort("_id", 1).to_list(None)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), 6),
        (Selection(ids=("waiting", "absent")), 1),
        (Selection(ids=("5f1d7f3e9d1c4b0001a0c001",)), 1),
        (Selection(reason="KeyError"), 2),
        (Selection(since=datetime.now(UTC) - timedelta(days=1)), 5),
        (Selection(stream=STREAM), 1),
        (Selection(limit=2), 2),
        (Selection(reason="KeyError", stream="s2"), 1),
    ],
)
async def test_filters_narrow_what_is_selected(
    database: Database, queue: dict[str, Document], selection: Selection, expected: int
) -> None:
    assert len(await find_items(database, selection)) == expected


async def test_equal_failures_are_selected_by_their_fingerprint(
    database: Database, queue: dict[str, Document]
) -> None:
    fingerprint = item_fingerprint(queue["waiting"])
    found = await find_items(database, Selection(fingerprint=fingerprint))
    assert {str(entry.id) for entry in found} == {"waiting", f"progress:{STREAM}"}
    limited = await find_items(database, Selection(fingerprint=fingerprint, limit=1))
    assert len(limited) == 1


async def test_retry_makes_due_now_what_waits_and_leaves_what_is_in_hand(
    database: Database, queue: dict[str, Document]
) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    assert await retry_items(database, await find_items(database, Selection())) == 4
    for name in ("waiting", "old", f"progress:{STREAM}"):
        changed = await stored(database, name)
        assert (changed["status"], changed["retry_count"]) == ("pending", 0)
        assert before < changed["due_at"] < datetime.now(UTC) + timedelta(seconds=5)
    assert await stored(database, "held") == queue["held"]
    assert await stored(database, "done") == queue["done"]


async def test_discard_deletes_what_is_selected_but_nothing_in_hand(
    database: Database, queue: dict[str, Document]
) -> None:
    assert await discard_items(database, await find_items(database, Selection())) == 5
    assert [each["_id"] for each in await everything(database)] == ["held"]


@pytest.mark.parametrize("command", [["retry"], ["discard", "--all"], ["discard", "--status", "failed"]])
async def test_a_dry_run_says_what_would_be_done_and_changes_nothing(
    database: Database, queue: dict[str, Document], run: Run, command: list[str]
) -> None:
    result = await run(*command, "--dry-run", "--json")
    assert result.exit_code == ExitCode.OK
    said = json.loads(result.stdout)
    assert said.pop("dry_run") is True
    [(_, count)] = said.items()
    assert count > 0
    assert {str(each["_id"]): each for each in await everything(database)} == queue
    really = json.loads((await run(*command, "--json")).stdout)
    assert [value for name, value in really.items() if name != "dry_run"] == [count]


async def test_the_list_is_what_is_not_completed(queue: dict[str, Document], run: Run) -> None:
    listed = json.loads((await run("list", "--json")).stdout)
    assert {each["_id"] for each in listed} == set(queue) - {"done"}
    [failed] = json.loads((await run("list", "--status", "failed", "--since", "1d", "--json")).stdout)
    assert failed["stream_id"] == STREAM
    table = (await run("list", "--status", "pending")).stdout
    assert "waiting" in table
    assert "in 59 m" in table


async def test_groups_show_one_line_per_kind_of_failure(queue: dict[str, Document], run: Run) -> None:
    groups = json.loads((await run("list", "--reason", "KeyError", "--group", "--json")).stdout)
    assert [(group["count"], group["reason"]) for group in groups] == [(2, "KeyError")]
    assert groups[0]["fingerprint"] == item_fingerprint(queue["waiting"])


async def test_show_has_every_field_and_misses_with_code_2(queue: dict[str, Document], run: Run) -> None:
    shown = json.loads((await run("show", "waiting", "--json")).stdout)
    assert set(queue["waiting"]) <= set(shown)
    assert "KeyError in fold" in (await run("show", "waiting")).stdout
    missed = await run("show", "absent")
    assert missed.exit_code == ExitCode.USAGE
    assert "absent" in missed.stderr


async def test_retry_by_id_touches_only_that_item(
    database: Database, queue: dict[str, Document], run: Run
) -> None:
    result = await run("retry", f"progress:{STREAM}")
    assert "1 item retried" in result.stdout
    assert await with_status(database, "failed") == 1
    assert (await stored(database, f"progress:{STREAM}"))["retry_count"] == 0
