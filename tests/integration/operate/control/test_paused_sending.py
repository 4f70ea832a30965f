"""Notifications and retries, paused: what is not to be sent or tried waits, and everything else goes on."""

from collections import Counter

import pytest

from tests.support.notify import notifying, row, write
from tests.support.retry import Noting, item, put, running, with_status
from worker.gate import OPEN, Gate, Switches
from worker.notify.delivery import Accepted, Delivery, Message, Recipient
from worker.storage.database import Database
from worker.storage.work_items import COUNTS_FOLD, COUNTS_ROW, PROGRESS_FOLD


class Collector:
    """A receiver in this process that remembers what it took."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()

    async def send(self, message: Message, recipient: Recipient) -> Delivery:
        self.taken[message.key] += 1
        return Accepted()

    async def close(self) -> None:
        pass


async def _kinds(database: Database, status: str) -> Counter[str]:
    rows = await database.notifications.find({"status": status}, {"kind": 1}).to_list(None)
    return Counter(each["kind"] for each in rows)


@pytest.mark.slow
async def test_a_paused_kind_stays_pending_through_a_restart_and_is_sent_once(database: Database) -> None:
    collector, gate = Collector(), Gate(Switches(kinds=frozenset({"welcome"})))
    welcomes = await write(database, [row(number, "welcome") for number in range(30)])
    first = await write(database, [row(number) for number in range(30)])
    async with notifying(database, {"webhook": collector}, gate=gate) as running_notifier:
        await running_notifier.until_status("sent", 30)
        await running_notifier.lives_on("notify")
        assert await _kinds(database, "pending") == {"welcome": 30}
    async with notifying(database, {"webhook": collector}, gate=gate) as running_notifier:
        second = await write(database, [row(number) for number in range(30, 40)])
        await running_notifier.until_status("sent", 40)
        await running_notifier.lives_on("notify")
        assert collector.taken == dict.fromkeys([*first, *second], 1)
        rows = await database.notifications.find({"kind": "welcome"}).to_list(None)
        assert {(each["status"], each["attempts"]) for each in rows} == {("pending", 0)}
        gate.turn(OPEN)
        await running_notifier.until_status("sent", 70)
    assert collector.taken == dict.fromkeys([*first, *second, *welcomes], 1)


async def test_a_paused_role_sends_nothing_and_tells_how_much_waits(database: Database) -> None:
    collector, gate = Collector(), Gate(Switches(roles=frozenset({"notify"})))
    keys = await write(database, [row(number) for number in range(20)])
    async with notifying(database, {"webhook": collector}, gate=gate) as running_notifier:
        await running_notifier.lives_on("notify")
        assert await _kinds(database, "pending") == {"completion": 20}
        gate.turn(OPEN)
        await running_notifier.until_status("sent", 20)
    assert collector.taken == dict.fromkeys(keys, 1)


async def test_so_many_are_sent_in_a_second_and_no_more(database: Database) -> None:
    collector, gate = Collector(), Gate(Switches(rates={"notify_per_s": 20.0}))
    await write(database, [row(number) for number in range(60)])
    async with notifying(database, {"webhook": collector}, gate=gate) as running_notifier:
        clock = running_notifier.clock
        began = clock.monotonic()
        await running_notifier.until_status("sent", 60)
        assert clock.monotonic() - began >= (60 - 20) / 20 - 0.5


async def test_a_paused_retry_tries_nothing_and_keeps_its_lease(database: Database) -> None:
    noting, gate = Noting(), Gate(Switches(roles=frozenset({"retry"})))
    await put(database, [item(f"progress:{number}", f"stream-{number}") for number in range(20)])
    async with running(database, {PROGRESS_FOLD: noting}, gate=gate) as retry:
        await retry.until(lambda: retry.value("lease_held", lease="retry:00") == 1, "it holds the lease")
        await retry.lives_on("retry")
        assert (noting.items, await with_status(database, "pending")) == ([], 20)
        assert retry.value("retry_queue_events", state="pending") == 20
        gate.turn(OPEN)
        await retry.until_status("completed", 20)
    assert len(noting.items) == 20


async def test_items_of_a_paused_projection_cost_the_others_no_attempts(database: Database) -> None:
    noting, gate = Noting(), Gate(Switches(projections=frozenset({"counts"}), rates={"retry_per_s": 20.0}))
    types = (COUNTS_FOLD, COUNTS_ROW)
    paused = [item(f"counts:{n}", f"a-{n}", event_type=types[n % 2]) for n in range(400)]
    await put(database, [*paused, *(item(f"progress:{n}", f"b-{n}") for n in range(20))])
    handlers = dict.fromkeys([PROGRESS_FOLD, *types], noting)
    async with running(database, handlers, gate=gate) as retry:
        await retry.until_status("completed", 20)
        await retry.lives_on("retry")
        assert {each.event_type for each in noting.items} == {PROGRESS_FOLD}
        assert await database.analytics_queue.count_documents({"retry_count": 0, "last_retry": None}) == 400
        gate.turn(OPEN)
        await retry.until_status("completed", 420)


async def test_attempts_are_kept_within_a_rate(database: Database) -> None:
    noting, gate = Noting(), Gate(Switches(rates={"retry_per_s": 20.0}))
    await put(database, [item(f"progress:{number}", f"stream-{number}") for number in range(60)])
    async with running(database, {PROGRESS_FOLD: noting}, gate=gate) as retry:
        await retry.until_status("completed", 60)
    first, last = noting.calls[0][0], noting.calls[-1][0]
    assert last - first >= (60 - 20) / 20 - 0.5
