"""Notifications that are not sent yet: in the list of the queue, with its filters, and retried from there."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import RunningMongo
from tests.support.notify import MADE, row, write
from tests.support.retry import Run, command_line, item, put, stored
from worker.app.exits import ExitCode
from worker.retry.operate import WAITING, discard_items, find_items, retry_items
from worker.retry.selection import Selection
from worker.storage.database import Database, Document

FAR = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
NEW, AWAY, FAILED, TAKEN, SENT, WAITS = (row(number) for number in range(1, 7))
AWAY |= {"attempts": 4, "last_error": "no route to host", "due_at": FAR}
FAILED |= {"status": "failed", "attempts": 12, "refusals": 12, "last_error": "HTTP 400", "channel": "webhook"}
TAKEN |= {"status": "taken", "attempts": 1, "lease_owner": "x/1", "lease_until": FAR}
SENT |= {"status": "sent", "attempts": 1, "sent_at": FAR, "channel": "webhook"}
WAITS |= {"attempts": 1, "last_error": "set aside: a document in users: it cannot be decoded", "due_at": FAR}
ITEM = item(f"notification:{WAITS['_id']}", event_type="notification_send", status="failed", due_at=FAR)


@pytest.fixture
def run(database: Database, mongodb: RunningMongo) -> Run:
    """`sevenp-worker queue` on this test's database."""
    return command_line("queue", mongodb_uri=mongodb.uri, database_prefix=database.prefix)


@pytest.fixture
async def outbox(database: Database) -> None:
    """One new, one whose receiver is away, one given up, one in hand, one sent, one that waits for a document."""
    await write(database, [NEW, AWAY, FAILED, TAKEN, SENT, WAITS])
    await put(database, [ITEM, item("progress:s", "s", status="failed", error_class="KeyError")])


async def sent_row(database: Database, which: Document) -> Document:
    found = await database.notifications.find_one({"_id": which["_id"]})
    assert found is not None
    return found


@pytest.mark.usefixtures("outbox")
async def test_what_is_not_sent_is_listed_with_what_failed(run: Run) -> None:
    listed = {each["_id"]: each for each in json.loads((await run("list", "--json")).stdout)}
    unsent = {each["_id"] for each in (NEW, AWAY, FAILED, TAKEN)}
    assert listed.keys() == unsent | {ITEM["_id"], "progress:s"}
    states = {name: (each["status"], each["error_class"]) for name, each in listed.items() if name in unsent}
    assert states == {
        NEW["_id"]: ("pending", ""),
        AWAY["_id"]: ("pending", "Unavailable"),
        FAILED["_id"]: ("failed", "Refused"),
        TAKEN["_id"]: ("processing", ""),
    }
    assert {each["event_type"] for name, each in listed.items() if name in unsent} == {"notification_send"}
    assert "no route to host" in (await run("list", "--status", "pending")).stdout
    assert "HTTP 400" in (await run("show", FAILED["_id"])).stdout


@pytest.mark.usefixtures("outbox")
@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(reason="Refused"), [FAILED]),
        (Selection(stream=AWAY["stream_id"]), [AWAY]),
        (Selection(ids=(NEW["_id"], SENT["_id"])), [NEW]),
        (Selection(since=MADE + timedelta(seconds=1), reason="Unavailable"), []),
        (Selection(limit=1), [NEW]),
    ],
)
async def test_the_filters_of_the_queue_choose_among_notifications(
    database: Database, selection: Selection, expected: list[Document]
) -> None:
    found = await find_items(database, selection)
    assert [entry.id for entry in found] == [each["_id"] for each in expected]
    if expected == [FAILED]:
        same = await find_items(database, Selection(fingerprint=found[0].fingerprint))
        assert [entry.id for entry in same] == [FAILED["_id"]]


@pytest.mark.usefixtures("outbox")
async def test_a_retry_makes_them_due_and_takes_none_out_of_a_hand(database: Database) -> None:
    assert await retry_items(database, await find_items(database, Selection(), WAITING)) == 5
    soon = datetime.now(UTC) + timedelta(seconds=5)
    for each in (NEW, AWAY, FAILED):
        now = await sent_row(database, each)
        assert (now["status"], now["refusals"], now["attempts"]) == ("pending", 0, each["attempts"])
        assert now["due_at"] < soon
    assert await sent_row(database, TAKEN) == TAKEN
    assert await sent_row(database, SENT) == SENT
    # The row that its item is about is asked for at once, too.
    assert (await stored(database, ITEM["_id"]))["status"] == "pending"
    assert (await sent_row(database, WAITS))["due_at"] < soon


@pytest.mark.usefixtures("outbox")
async def test_no_notification_is_ever_discarded(database: Database, run: Run) -> None:
    before = await database.notifications.find({}).sort("_id", 1).to_list(None)
    said = json.loads((await run("discard", "--all", "--json")).stdout)
    assert said["discarded"] == 2
    assert (await run("discard", FAILED["_id"])).exit_code != ExitCode.OK
    await discard_items(database, await find_items(database, Selection()))
    assert await database.notifications.find({}).sort("_id", 1).to_list(None) == before
