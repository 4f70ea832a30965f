"""Claims in one collection: who has what in hand, and that what nobody can read keeps nobody else waiting."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.notify.test_foreign import broken, put
from tests.support.notify import row, write
from worker.notify.rows import checked
from worker.storage import claims as module
from worker.storage.claims import DUE, Claims
from worker.storage.database import Database, Document
from worker.timing import SystemClock

ATTEMPT: Document = {"attempts": {"$add": ["$attempts", 1]}}
FAILED: Document = {"status": {"$literal": "failed"}}


def claims(database: Database, owner: str = "ours", lease_s: float = 60.0) -> Claims:
    return Claims(database.notifications, SystemClock(), in_hand="taken", owner=owner, lease_s=lease_s)


async def taken(from_: Claims, ids: list[Any], *, expired: bool = False) -> tuple[str, set[str]]:
    token = from_.new_token()
    claim = await from_.claim(token, ids, ATTEMPT, checked, expired=expired)
    return token, {each["_id"] for each in claim.taken}


async def test_what_one_has_in_hand_another_gets_only_when_the_lease_is_over(database: Database) -> None:
    ids = await write(database, [row(number) for number in range(4)])
    ours, theirs, late = claims(database), claims(database, "theirs"), claims(database, "late", lease_s=0.0)
    token, held = await taken(ours, ids[:2])
    assert held == set(ids[:2])
    assert (await taken(late, ids, expired=True))[1] == set(ids[2:])
    assert (await taken(theirs, ids))[1] == set()
    assert (await taken(theirs, ids, expired=True))[1] == set(ids[2:])
    assert (await ours.release(token, dict.fromkeys(ids, FAILED))).matched == 2
    assert await database.notifications.count_documents({"status": "failed", "lease_owner": None}) == 2


async def test_an_attempt_is_counted_once_however_often_a_claim_is_sent(database: Database) -> None:
    ids = await write(database, [row(1)])
    ours = claims(database)
    token = ours.new_token()
    for _ in range(2):
        claim = await ours.claim(token, ids, ATTEMPT, checked)
        assert [each["attempts"] for each in claim.taken] == [1]


async def test_a_renewed_lease_is_not_over(database: Database) -> None:
    ids = await write(database, [row(1)])
    short, long = claims(database, lease_s=0.0), claims(database)
    token, _ = await taken(short, ids)
    await long.renew([token], ids)
    assert (await taken(claims(database, "theirs"), ids, expired=True))[1] == set()


async def test_however_many_cannot_be_read_they_keep_no_other_waiting(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_IN_A_QUERY", 5)
    monkeypatch.setattr(module, "_PAGE", 7)
    for number in range(40):
        await put(database, "notifications", broken(row(number)))
    [good] = await write(database, [row(100)])
    ours = claims(database)
    for _ in range(3):  # also when most of them are known, and not all of them in the query
        found = await ours.candidates(DUE, checked, 4)
        assert [each["_id"] for each in found.values] == [good]
        for one in found.unreadable:
            ours.pass_over(one.id)
    assert found.unreadable == []
    ours.pass_over(good)
    assert (await ours.candidates(DUE, checked, 4)).values == []


async def test_when_the_next_is_due_is_known_past_dates_that_are_none(database: Database) -> None:
    ours = claims(database)
    assert await ours.due_in_s({}) is None
    await put(database, "notifications", {**row(1), "due_at": {"$later": 1}, "_id": "late"})
    assert await ours.due_in_s({"_id": "late"}) == 0.0  # an object comes before every date: it is due
    await write(database, [{**row(2), "due_at": datetime.now(UTC) + timedelta(seconds=100)}])
    wait_s = await ours.due_in_s({"_id": row(2)["_id"]})
    assert wait_s is not None
    assert 50 < wait_s <= 100
