"""The role as a whole: who is asked, what is never sent, how workers share the outbox, and what a stop leaves."""

import asyncio
import dataclasses
from collections import Counter
from datetime import UTC, datetime

import pytest
from bson import ObjectId

from tests.support.notify import notifying, row, write
from worker.notify.delivery import Accepted, Delivery, Message, Recipient, Unavailable
from worker.notify.policy import FAILURES_BEFORE_PAUSE
from worker.storage.database import Database, Document
from worker.timing import SystemClock


class Collector:
    """A receiver in this process that remembers what it took; it can be told to hold everything back."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.begun: Counter[str] = Counter()
        self.free = asyncio.Event()
        self.free.set()

    async def send(self, message: Message, recipient: Recipient) -> Delivery:
        self.begun[message.key] += 1
        await self.free.wait()
        self.taken[message.key] += 1
        return Accepted()

    async def close(self) -> None:
        pass


def learner(number: int) -> ObjectId:
    return ObjectId(f"{number:024x}")


def _user(number: int, **fields: object) -> Document:
    return {"_id": learner(number), "email": f"{number}@example.org", "username": f"u{number}", **fields}


async def test_rows_that_a_replay_made_are_never_sent(database: Database) -> None:
    collector = Collector()
    replayed = await write(database, [row(number, by="replay") for number in range(20)])
    live = await write(database, [row(number, by="live") for number in range(20, 30)])
    retried = await write(database, [row(number, by="retry") for number in range(30, 40)])
    async with notifying(database, {"webhook": collector}) as running:
        await running.until_status("sent", 20)
    assert collector.taken == dict.fromkeys(live + retried, 1)
    assert (
        await database.notifications.count_documents({"_id": {"$in": replayed}, "status": "suppressed"}) == 20
    )


@pytest.mark.parametrize(
    ("channel", "preference"),
    [("mail", "email_course_updates"), ("webhook", "push_notifications"), ("kafka", "push_notifications")],
)
async def test_the_learners_preferences_are_honoured_and_what_they_stop_is_counted(
    database: Database, channel: str, preference: str
) -> None:
    wishes: list[object] = [True, False, None, "no"]
    await database.users.insert_many(
        _user(number, preferences={"notifications": {preference: wish}}) for number, wish in enumerate(wishes)
    )
    await database.users.insert_one(_user(4, preferences="odd"))
    await database.users.insert_one(_user(5, deleted_at=datetime(2026, 1, 1, tzinfo=UTC)))
    await database.tombstones.insert_one(
        {"_id": learner(6), "reason": "erased", "created_at": datetime(2026, 1, 1, tzinfo=UTC)}
    )
    keys = await write(database, [row(number) for number in range(8)])  # learner 7 has no document
    collector = Collector()
    async with notifying(database, {channel: collector}) as running:
        await running.until_status("sent", 4)
        await running.until_status("suppressed", 4)
        await running.until_moved("notifications_total", "notification_send_duration_seconds")
    assert running.count("suppressed") == 4
    assert collector.taken == dict.fromkeys([keys[0], keys[2], keys[4], keys[7]], 1)
    stopped = await database.notifications.find_one({"_id": keys[1]})
    assert stopped is not None
    assert (stopped["status"], stopped["channel"], stopped["sent_at"]) == ("suppressed", channel, None)


async def test_no_preference_speaks_for_the_log(database: Database) -> None:
    await database.users.insert_one(_user(1, preferences={"notifications": {"push_notifications": False}}))
    await write(database, [row(1)])
    collector = Collector()
    async with notifying(database, {"log": collector}) as running:
        await running.until_status("sent", 1)


async def test_three_workers_share_the_outbox_and_each_key_goes_out_once(database: Database) -> None:
    collector = Collector()
    async with (
        notifying(database, {"webhook": collector}) as one,
        notifying(database, {"webhook": collector}) as two,
        notifying(database, {"webhook": collector}) as three,
    ):
        keys = await write(database, [row(number) for number in range(400)])
        await one.until_status("sent", 400)
    # Drained: a send is counted after its row says so.
    shares = [worker.count("sent") for worker in (one, two, three)]
    assert collector.taken == dict.fromkeys(keys, 1)
    assert sum(shares) == 400


async def test_a_kind_this_worker_does_not_know_is_left_alone(database: Database) -> None:
    collector = Collector()
    await write(database, [row(1, "of_the_future"), row(2)])
    async with notifying(database, {"webhook": collector}) as running:
        await running.until_status("sent", 1)
        unknown = await database.notifications.find_one({"kind": "of_the_future"})
    assert unknown is not None
    assert (unknown["status"], unknown["attempts"]) == ("pending", 0)


async def test_a_new_row_is_seen_long_before_the_longest_pause_is_over(database: Database) -> None:
    collector = Collector()
    async with notifying(database, {"webhook": collector}, poll_s=3_600.0) as running:
        for number in range(5):
            await write(database, [row(number)])
            await running.until_status("sent", number + 1)


async def test_a_stop_waits_for_what_is_under_way_and_marks_it(database: Database) -> None:
    collector = Collector()
    collector.free.clear()
    await write(database, [row(number) for number in range(5)])
    async with notifying(database, {"webhook": collector}) as running:
        await running.until(lambda: len(collector.begun) == 5, "five sends under way")
        running.stop.set()
        collector.free.set()
        await running.drain()
    assert await database.notifications.count_documents({"status": "sent"}) == 5


async def test_what_waits_for_a_place_when_told_to_stop_goes_back_at_once(database: Database) -> None:
    collector = Collector()
    collector.free.clear()
    await write(database, [row(number) for number in range(12)])
    async with notifying(database, {"webhook": collector}, concurrency=2, in_hand=12) as running:
        await running.until_status("taken", 12)
        await running.until(lambda: len(collector.begun) == 2, "two sends under way")
        running.stop.set()
        collector.free.set()
        await running.drain()
    statuses = Counter(each["status"] for each in await database.notifications.find({}).to_list(None))
    assert statuses == {"sent": 2, "pending": 10}
    assert len(collector.begun) == 2


class AwayReceiver(Collector):
    """Nobody there."""

    async def send(self, message: Message, recipient: Recipient) -> Delivery:
        await super().send(message, recipient)
        return Unavailable("nobody there")


async def test_what_waits_for_a_place_when_the_receiver_is_found_away_goes_back(database: Database) -> None:
    receiver = AwayReceiver()
    await write(database, [row(number) for number in range(40)])
    async with notifying(
        database,
        {"webhook": receiver},
        concurrency=1,
        in_hand=40,
        shortest_wait_s=3_600.0,
        longest_wait_unavailable_s=3_600.0,
    ) as running:
        await running.until(
            lambda: len(receiver.begun) == FAILURES_BEFORE_PAUSE, "the receiver is found unavailable"
        )
        await running.until_status("taken", 0)
        assert len(receiver.begun) == FAILURES_BEFORE_PAUSE
        assert await database.notifications.count_documents({"status": "pending"}) == 40


async def test_what_a_dead_worker_had_taken_is_sent_by_another_after_its_lease(database: Database) -> None:
    stuck, collector = Collector(), Collector()
    stuck.free.clear()
    keys = await write(database, [row(number) for number in range(5)])
    async with notifying(database, {"webhook": stuck}) as dead:
        await dead.until(lambda: len(stuck.begun) == 5, "five sends under way")
        dead.task.cancel()
        await asyncio.wait({dead.task})
    async with notifying(database, {"webhook": collector}) as heir:
        await heir.until_status("sent", 5)
        assert {row["attempts"] for row in await database.notifications.find({}).to_list(None)} == {2}
    assert collector.taken == dict.fromkeys(keys, 1)


class LeapingClock(SystemClock):
    """As a process sees time that is stopped again and again for longer than any lease."""

    def __init__(self) -> None:
        self._leapt_s = 0.0

    def monotonic(self) -> float:
        self._leapt_s += 1_000.0
        return super().monotonic() + self._leapt_s


async def test_a_worker_that_slept_past_its_lease_sends_nothing(database: Database) -> None:
    collector = Collector()
    await write(database, [row(number) for number in range(5)])

    async def claimed_again() -> bool:
        return await database.notifications.count_documents({"attempts": {"$gte": 2}}) > 0

    async with notifying(database, {"webhook": collector}, lease_s=1.0, clock=LeapingClock()) as running:
        await running.until(claimed_again, "rows are claimed again after their lease")
    assert collector.begun == {}


async def test_a_row_that_cannot_become_a_message_fails_alone(database: Database) -> None:
    collector = Collector()
    await write(
        database, [row(1, odd=b"bytes have no place in JSON"), *(row(number) for number in range(2, 10))]
    )
    async with notifying(database, {"webhook": collector}) as running:
        await running.until_status("sent", 8)
        await running.until(lambda: running.count("deferred") >= 1, "the odd row was tried")
        odd = await database.notifications.find_one({"data.odd": {"$exists": True}})
    assert odd is not None
    assert odd["last_error"] == "the row cannot be sent: Type is not JSON serializable: bytes"
    assert odd["refusals"] >= 1


@dataclasses.dataclass
class Defective:
    """A sender that fails by itself, whatever it is given, until it is mended."""

    mended: bool = False
    sent: list[str] = dataclasses.field(default_factory=list)

    async def send(self, message: Message, _recipient: Recipient) -> Delivery:
        if not self.mended:
            raise LookupError(message.key)
        self.sent.append(message.key)
        return Accepted()

    async def close(self) -> None:
        pass


async def test_a_defect_of_the_channel_counts_against_no_row(database: Database) -> None:
    sender = Defective()
    keys = await write(database, [row(number) for number in range(5)])
    async with notifying(database, {"webhook": sender}, max_refusals=1) as running:
        await running.until(lambda: running.count("deferred") >= 5, "some attempts")
        assert await database.notifications.count_documents({"refusals": {"$gte": 1}}) == 0
        sender.mended = True
        await running.until_status("sent", 5)
    assert sorted(sender.sent) == sorted(keys)


async def test_a_row_whose_key_no_header_can_hold_fails_alone(database: Database) -> None:
    collector = Collector()
    await write(database, [{**row(1), "_id": "completion:\nX: y"}, *(row(number) for number in range(2, 6))])
    async with notifying(database, {"webhook": collector}, max_refusals=2) as running:
        await running.until_status("sent", 4)
        await running.until_status("failed", 1)
    assert len(collector.taken) == 4


@pytest.mark.slow
async def test_marks_wait_for_a_server_that_fails_and_nothing_is_sent_twice(database: Database) -> None:
    collector = Collector()
    keys = await write(database, [row(number) for number in range(10)])
    collector.free.clear()
    admin = database.client.admin
    failure = {
        "failCommands": ["update"],
        "errorCode": 10107,
        "namespace": f"{database.notifications.database.name}.notifications",
    }
    async with notifying(database, {"webhook": collector}) as running:
        await running.until(lambda: len(collector.begun) == 10, "ten sends under way")
        await admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=failure)
        try:
            collector.free.set()
            await running.until(
                lambda: running.value("mongodb_retries_total", reason="not_primary") >= 20, "retries"
            )
        finally:
            await admin.command("configureFailPoint", "failCommand", mode="off")
        await running.until_status("sent", 10)
    assert collector.taken == dict.fromkeys(keys, 1)
