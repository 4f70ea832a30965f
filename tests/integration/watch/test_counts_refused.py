"""Documents the server does not let counting write: they hold up nobody, and they catch up by themselves."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from tests.support.clocks import ManualClock
from tests.support.counts import (
    EVER,
    Learner,
    add_platform,
    assert_counted,
    course,
    dependencies,
    dirty_keys,
    nothing,
    only,
    snapshot,
    store_all,
    user,
)
from tests.support.counts import counter as counter_of
from tests.support.scraping import until_moved
from tests.unit.projections.events import moment
from worker.retry.depths import DepthGauges, measure
from worker.storage.database import Collection, Database
from worker.storage.driver import list_collections
from worker.storage.work_items import COUNTS_FOLD, COUNTS_ROW, EVENT_TYPES, Failed, Item
from worker.telemetry.metrics import Metrics
from worker.verify.run import verify
from worker.watch.sums import quarantine
from worker.watch.sums.attempt import Keys
from worker.watch.sums.counting import Counter
from worker.watch.sums.quarantine import named_target
from worker.watch.sums.rows import RejectedRows

MANY = 120
KINDS = ("learner", "course", "user")


async def exchange_rule(collection: Collection, rule: dict[str, Any] | None) -> dict[str, Any] | None:
    """Put another validator in place; returns the one before."""
    home = collection.database
    (before,) = await list_collections(home, collection.name)
    await home.command({"collMod": collection.name, "validator": rule or {}})
    found: dict[str, Any] | None = before["options"].get("validator")
    return found


async def rejections(database: Database) -> int:
    return len(await refused(database))


async def refused(database: Database) -> Keys:
    """What is quarantined, as the queue says."""
    items = database.analytics_queue.find({"event_type": COUNTS_FOLD, "status": {"$ne": "completed"}})
    named = [named_target("counts", KINDS, item["_id"]) for item in await items.to_list(None)]
    return frozenset(target for target in named if target is not None)


def dirty(learners: Sequence[Learner]) -> Keys:
    return dirty_keys(learners=frozenset(learner.identity for learner in learners))


def counter(
    database: Database, clock: ManualClock, keep_alive: Callable[[], Awaitable[None]] = nothing
) -> Counter:
    return counter_of(dependencies(database, clock=clock, keep_alive=keep_alive))


@pytest.mark.slow
async def test_a_rule_that_refuses_every_user_stops_neither_courses_nor_rows_and_all_catch_up(
    database: Database,
) -> None:
    await add_platform(database, 1, MANY)
    rule = await exchange_rule(database.users, {"stats": {"$exists": False}})
    learners = [await Learner(course(0), user(n)).enrol().store(database) for n in range(MANY)]
    clock = ManualClock()
    transactions = 0

    async def keep_alive() -> None:
        nonlocal transactions
        transactions += 1

    counting = counter(database, clock, keep_alive)
    await counting.count(dirty(learners))
    assert transactions < 4 * MANY  # a few each, not one attempt of all for each
    assert (await only(database, "courses"))["stats"]["enrollments"]["total"] == MANY
    assert await database.notifications.count_documents({}) == MANY
    assert await database.user_progress_projections.count_documents({}) == MANY
    assert await rejections(database) == MANY + 1  # their instructor, too

    await exchange_rule(database.users, rule)
    await counter(database, clock).recount(await refused(database))  # nobody moves
    await assert_counted(database)
    assert not await snapshot(database)
    assert await rejections(database) == 0


async def test_a_learner_whose_projection_was_refused_is_counted_later_though_nothing_moves(
    database: Database,
) -> None:
    await add_platform(database, 1, 3)
    rule = await exchange_rule(database.user_progress_projections, {"user_id": {"$ne": user(1)}})
    learners = [await Learner(course(0), user(n)).enrol().store(database) for n in range(3)]
    clock = ManualClock()
    counting = counter(database, clock)
    await counting.count(dirty(learners))
    assert (await only(database, "courses"))["stats"]["enrollments"]["total"] == 2
    assert await rejections(database) == 1
    again = await counter(database, clock).recount(await refused(database))
    assert again.keys() == await refused(database)
    assert await rejections(database) == 1

    await exchange_rule(database.user_progress_projections, rule)
    assert not await counter(database, clock).recount(await refused(database))
    await assert_counted(database)
    assert await rejections(database) == 0


async def test_a_refused_row_costs_only_itself_and_comes_when_the_rule_lets_it(database: Database) -> None:
    """The learner, the statistics and the others' rows are as if nothing had happened."""
    await add_platform(database, 1, 3)
    before = await exchange_rule(database.notifications, {"user_id": {"$ne": user(1)}})
    learners = [Learner(course(0), user(n)).enrol() for n in range(3)]
    await store_all(database, learners)
    await counter(database, ManualClock()).count(dirty(learners))

    await assert_counted(database)
    assert await database.notifications.count_documents({}) == 2
    assert await quarantined_rows(database) == {"notifications": 1, "billing_transactions": 0}
    verification = await verify(database, quiescent=True)
    assert "notification_missing" not in verification.finding_counts

    items = await database.analytics_queue.find({"event_type": COUNTS_ROW}).to_list(None)
    assert {bool(await again(database, each)) for each in items} == {True}
    await exchange_rule(database.notifications, before)
    assert {await again(database, each) for each in items} == {None}
    row = await database.notifications.find_one({"user_id": user(1)}) or {}
    assert (row["status"], row["data"]) == ("pending", {"percentage": 0.0, "reached_at": moment(0)})


async def again(database: Database, item: dict[str, Any]) -> str | None:
    """What the retry role says of an item: why it still fails, None when it is done."""
    handler = RejectedRows(dependencies(database), EVER)
    given = Item(item["_id"], item["event_type"], item["data"], None, 1, 1)
    verdict = (await handler([given])).get(given.id)
    return verdict.message if isinstance(verdict, Failed) else None


async def quarantined_rows(database: Database) -> dict[str, int]:
    """As the gauge shows it."""
    metrics = Metrics()
    DepthGauges(metrics, ManualClock()).show(await measure(database, EVENT_TYPES))
    await until_moved(metrics, "refused_rows")
    shown = (
        (name, metrics.registry.get_sample_value("sevenp_worker_refused_rows", {"collection": name}) or 0)
        for name in ("notifications", "billing_transactions")
    )
    return {name: int(value) for name, value in shown}


@pytest.mark.parametrize("few", [0, 100])
async def test_statistics_that_were_refused_are_not_added_to_but_summed_again(
    database: Database, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(quarantine, "_FEW", few)  # of which all are asked for at once
    await add_platform(database, 1, 3)
    learners = [await Learner(course(0), user(n)).enrol().store(database) for n in range(3)]
    clock = ManualClock()
    counting = counter(database, clock)
    await counting.count(dirty(learners[:1]))
    rule = await exchange_rule(database.courses, {"stats.enrollments.total": {"$lt": 2}})
    await counting.count(dirty(learners[1:2]))
    await exchange_rule(database.courses, rule)
    other = counter(database, clock)  # knows nothing of the refusal but what is stored
    await other.count(dirty(learners[2:]))
    assert await rejections(database) == 1
    await other.recount(await refused(database))
    await assert_counted(database)
    assert await rejections(database) == 0


async def test_a_refused_document_that_is_deleted_is_forgotten(database: Database) -> None:
    await add_platform(database, 1, 1)
    await exchange_rule(database.users, {"stats": {"$exists": False}})
    clock = ManualClock()
    counting = counter(database, clock)
    await counting.count(dirty([await Learner(course(0), user(0)).enrol().store(database)]))
    assert await rejections(database) == 2
    await database.users.delete_many({})
    await counting.recount(await refused(database))
    assert await rejections(database) == 0
