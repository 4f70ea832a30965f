"""Replays send nothing: whatever is rebuilt or mended, no receiver of any channel hears of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.integration.jobs.test_rebuild_rows import runner_of
from tests.integration.notify.http_receiver import HttpReceiver
from tests.integration.notify.mail_receiver import MailReceiver
from tests.integration.notify.test_kafka import topic_sender
from tests.integration.notify.test_mail import mail
from tests.integration.notify.test_webhook import webhook
from tests.integration.verify.counted import counted, store_counted
from tests.integration.verify.history import COURSE, START, learner, store
from tests.support.counts import count
from tests.support.notify import notifying, write
from worker.devstack.servers.topics import create_topic
from worker.jobs.rebuild_counts import REBUILD_COUNTS, RebuildCounts
from worker.jobs.rebuild_notifications import REBUILD_NOTIFICATIONS, RebuildNotifications
from worker.jobs.rebuild_progress import REBUILD_PROGRESS, RebuildProgress
from worker.jobs.verify_fix import VERIFY_FIX, VerifyFix
from worker.notify.delivery import Sender
from worker.notify.senders.log import LogSender
from worker.storage.database import Database
from worker.storage.outbox import notification_id
from worker.timing import SystemClock
from worker.verify.run import verify

Heard = Callable[[], Awaitable[int]]
"""How many notifications a receiver has got."""


@asynccontextmanager
async def receiving(channel: str, kafka: str) -> AsyncIterator[tuple[Sender, Heard | None]]:
    """A real receiver of one channel; of the log only the sender knows."""
    if channel == "webhook":
        with HttpReceiver() as posts:

            async def posted() -> int:
                return posts.accepted.total()

            yield webhook(posts), posted
    elif channel == "mail":
        with MailReceiver() as mails:

            async def mailed() -> int:
                return mails.accepted.total()

            yield mail(mails), mailed
    elif channel == "kafka":
        await create_topic(kafka, "notifications", partitions=1)

        async def recorded() -> int:
            async with AIOKafkaConsumer(bootstrap_servers=kafka, group_id=None) as consumer:
                [end] = (await consumer.end_offsets([TopicPartition("notifications", 0)])).values()
                return int(end)

        yield topic_sender(kafka), recorded
    else:
        yield LogSender(SystemClock()), None


async def damage(database: Database, streams: list[str], records: list[Any]) -> None:
    """A record is lost, one altered, what was counted of one altered; a notification and the statistics are gone."""
    lost, altered, miscounted, _ = records
    await database.user_progress.delete_one({"_id": lost})
    await database.user_progress.update_one(
        {"_id": altered}, {"$set": {"milestones.welcome": None}}, bypass_document_validation=True
    )
    await database.user_progress_projections.update_one(
        {"_id": miscounted}, {"$set": {"emitted": [], "counted.progress": 7}}
    )
    await database.notifications.delete_one({"_id": notification_id("welcome", streams[3])})
    await database.courses.update_one({"_id": COURSE}, {"$unset": {"stats": ""}})


@pytest.mark.parametrize(
    "channel", ["webhook", *(pytest.param(each, marks=pytest.mark.slow) for each in ("mail", "kafka", "log"))]
)
@pytest.mark.parametrize("mended_by", ["rebuilds", pytest.param("fix", marks=pytest.mark.slow)])
async def test_no_receiver_hears_of_what_is_rebuilt(
    database: Database, kafka: str, channel: str, mended_by: str
) -> None:
    """All rows were sent; then damage, and its repair beside a role that sends. At the end one that is to be sent."""
    everyone = [learner(name) for name in "abcd"]
    await store(database, everyone)
    await store_counted(database, counted(everyone), everyone)
    await count(database, courses=[COURSE])
    sent = {"status": "sent", "attempts": 1, "channel": channel, "sent_at": START}
    await database.notifications.update_many({}, {"$set": sent})
    await damage(database, [each.stream for each in everyone], [each.progress["_id"] for each in everyone])
    runner = runner_of(database)
    async with receiving(channel, kafka) as (sender, heard), notifying(database, {channel: sender}) as role:
        before = await heard() if heard else 0
        if mended_by == "rebuilds":
            await runner.run(REBUILD_PROGRESS, RebuildProgress())
            await runner.run(REBUILD_COUNTS, RebuildCounts())
            await runner.run(REBUILD_NOTIFICATIONS, RebuildNotifications())
        else:
            await runner.run(VERIFY_FIX, VerifyFix(settled=True))
        assert (await verify(database, quiescent=True)).ok
        statuses = await database.notifications.distinct("status")
        assert set(statuses) == {"sent", "suppressed"}
        [row] = await database.notifications.find({"status": "suppressed"}).to_list(None)
        late = {**row, "_id": notification_id("completion", row["stream_id"]), "kind": "completion"}
        await write(database, [{**late, "status": "pending", "last_error": None}])
        await role.until_status("sent", len(everyone))
    assert role.count("sent") == 1
    assert role.count("sent", kind="welcome") == 0
    assert heard is None or await heard() - before == 1
