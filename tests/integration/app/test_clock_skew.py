"""Clocks that are an hour off, or go backwards: leases go by the server's time, waits by monotonic time."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.ingest.ledger import assert_exactly_once
from tests.support import ingest as ingesting
from tests.support import notify as outbox
from tests.support import progress as watching
from tests.support import retry as retrying
from tests.support.waiting import LIMIT_S, until
from worker.notify.delivery import Accepted, Delivery, Message, Recipient
from worker.storage.database import Database
from worker.storage.shares import GROUPS
from worker.timing import Clock, SystemClock

HOUR = timedelta(hours=1)


class Skewed(SystemClock):
    """A wall clock that is off by so much."""

    def __init__(self, by: timedelta) -> None:
        self._by = by

    def now(self) -> datetime:
        return super().now() + self._by


class Backwards(SystemClock):
    """A wall clock that is set back by a second each time somebody looks."""

    def __init__(self) -> None:
        self._by = timedelta()

    def now(self) -> datetime:
        self._by -= timedelta(seconds=1)
        return super().now() + self._by


CLOCKS = [
    pytest.param(Skewed(HOUR), id="ahead"),
    pytest.param(Skewed(-HOUR), id="behind"),
    pytest.param(Backwards(), id="backwards"),
]


@pytest.mark.slow
@pytest.mark.parametrize("clock", CLOCKS)
async def test_ingest_stores_every_event_once_and_shows_no_lag_that_is_none(
    database: Database, kafka: str, topic: str, clock: Clock
) -> None:
    first, second = ([ingesting.event(number % 9) for number in range(100)] for _ in range(2))
    chosen = ingesting.options(kafka, topic)
    async with ingesting.running(database, chosen, clock) as skewed:
        await ingesting.send(kafka, topic, ingesting.records(first))
        await skewed.until_processed(100)
        partitions = [{"topic": topic, "partition": str(number)} for number in range(4)]
        lags = [skewed.value("kafka_consumer_lag_seconds", **labels) for labels in partitions]
        assert min(lags) >= 0
        # Whoever comes with a right clock shares the partitions, and takes them all in the end.
        async with ingesting.running(database, chosen) as right:
            await ingesting.send(kafka, topic, ingesting.records(second))
            await skewed.drain()
            await until(lambda: skewed.processed() + right.processed() >= 200, "all is processed", LIMIT_S)
        assert skewed.outcome("stored") + right.outcome("stored") == 200
    await assert_exactly_once(database, first + second)


@pytest.mark.slow
@pytest.mark.parametrize("clock", CLOCKS)
async def test_watchers_share_groups_and_take_over_whatever_their_clocks_say(
    database: Database, clock: Clock
) -> None:
    streams = watching.histories(learners=40, events=6)
    async with (
        watching.running(database, owner="right") as right,
        watching.running(database, owner="skewed", clock=clock) as skewed,
    ):
        await right.until(lambda: right.groups_held() == skewed.groups_held() == 8, "each holds its half")
        await watching.store(database, watching.interleaved(streams, 1, 3))
        await right.until_current()
        transitions = right.value("lease_transitions_total", watcher="progress")
        await right.kill()
        await skewed.until_following()
        await watching.store(database, watching.interleaved(streams, 4, 6))
        await skewed.until_current()
        assert transitions <= 2 * GROUPS  # taken, and perhaps given: nothing flapped between them


@pytest.mark.parametrize("clock", CLOCKS)
async def test_queue_items_are_due_and_in_hand_by_the_servers_time(database: Database, clock: Clock) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=30)
    long_ago = datetime.now(UTC) - timedelta(minutes=30)
    in_hand = {"status": "processing", "retry_count": 1, "lease_owner": "another/1"}
    await retrying.put(
        database,
        [
            *(retrying.item(f"due-{number}", f"s{number}") for number in range(30)),
            retrying.item("in half an hour", "later", due_at=soon),
            retrying.item("in hand", "held", lease_until=soon, **in_hand),
            retrying.item("abandoned", "left", lease_until=long_ago, **in_hand),
        ],
    )
    handler = retrying.Noting()
    async with retrying.running(database, {retrying.EVENT_TYPE: handler}, clock=clock) as retry:
        await retry.until_status("completed", 31)
    assert {item.id for item in handler.items} & {"in half an hour", "in hand"} == set()
    assert len(handler.items) == 31


class Taking:
    """A receiver that takes everything."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    async def send(self, message: Message, _recipient: Recipient) -> Delivery:
        self.keys.append(message.key)
        return Accepted()

    async def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("clock", CLOCKS)
async def test_notifications_are_due_and_in_hand_by_the_servers_time(
    database: Database, clock: Clock
) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=30)
    rows = [outbox.row(number) for number in range(20)]
    later = {**outbox.row(20), "due_at": soon}
    in_hand = {**outbox.row(21), "status": "taken", "lease_owner": "another/1", "lease_until": soon}
    due = await outbox.write(database, rows)
    await outbox.write(database, [later, in_hand])
    receiver = Taking()
    async with outbox.notifying(database, {"webhook": receiver}, clock=clock) as notifier:
        await notifier.until_status("sent", 20)
    assert sorted(receiver.keys) == sorted(due)
