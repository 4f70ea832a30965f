"""The canary on real parts: seen while everything works, late when something stands, and never more than one."""

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.conftest import RunningMongo
from tests.oracle.case import Case
from tests.oracle.check import check_case
from tests.oracle.stored import read_stored
from tests.support import counts, ingest, progress
from tests.support.failpoints import failing
from tests.support.ingest import event, options, records, send
from tests.support.running import RunningRole, run, sample
from tests.support.settings import changed
from tests.support.waiting import until, wait_until
from tests.support.worker_process import StartWorker, fetch
from worker.app.canary import make_canary
from worker.contract.reserved import CANARY_COURSE, canary_learner, canary_stream, is_reserved
from worker.devstack.servers.topics import topic_ends
from worker.operate.canary import NAME, Canary
from worker.queries.explain import explain
from worker.queries.trace.log import not_asked
from worker.queries.trace.run import trace
from worker.settings import CanarySettings, Settings, load_settings
from worker.storage.database import Database
from worker.storage.errors import UNAUTHORIZED
from worker.storage.leases import group_name
from worker.telemetry.health import Health
from worker.telemetry.metrics import Metrics
from worker.timing import SystemClock
from worker.verify.run import verify

QUICK = changed(
    CanarySettings(enabled=True), interval_s=0.2, look_every_s=0.05, connect_again_s=0.2, lease_s=2.0
)
LAST = "sevenp_worker_canary_last_success_timestamp_seconds"
COUNT = "sevenp_worker_canary_latency_seconds_count"


@dataclass(slots=True)
class RunningCanary(RunningRole):
    """A canary in this process."""

    role: Canary

    def seen(self) -> float:
        """How many of its events became visible."""
        return sample(self.metrics, COUNT, {}) or 0.0

    def last_success(self) -> float | None:
        """As it is scraped: None while there is no such series."""
        return sample(self.metrics, LAST, {})


@pytest.fixture
def given(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return load_settings().model_copy(update={"canary": QUICK})


@contextlib.asynccontextmanager
async def running(given: Settings, database: Database) -> AsyncIterator[RunningCanary]:
    clock, metrics = SystemClock(), Metrics()
    component = Health(clock, metrics).component(NAME)
    role = make_canary(given, database, clock, component, metrics, f"test:1:{uuid.uuid4().hex}")
    async with run(role, lambda task, stop: RunningCanary(metrics, task, stop, role)) as started:
        yield started


@contextlib.asynccontextmanager
async def pipeline(database: Database, kafka: str, topic: str) -> AsyncIterator[None]:
    """Ingest and progress, as a worker has them."""
    async with ingest.running(database, options(kafka, topic)), progress.running(database):
        yield


async def sent(kafka: str, topic: str) -> int:
    return sum((await topic_ends(kafka, topic)).values())


@pytest.mark.slow
async def test_it_is_seen_in_its_document_and_counted_announced_and_billed_nowhere(
    given: Settings, database: Database, mongodb: RunningMongo, kafka: str, topic: str
) -> None:
    now = SystemClock().now()
    stream = canary_stream(now)
    payment = {"transaction_id": "t-canary", "amount": "1.00", "currency": "EUR", "method": "card"}
    forged = enrolment(0, course_id=str(CANARY_COURSE), user_id=str(canary_learner(now)), payment=payment)
    async with pipeline(database, kafka, topic), counts.running(database) as counting:
        await counting.until_following()
        async with running(given, database) as canary:
            await canary.until_moved("canary_latency_seconds", "canary_last_success_timestamp_seconds")
            await canary.until(lambda: canary.seen() >= 3, "its events are visible")
            assert time.time() - (canary.last_success() or 0) < 10
        # Whoever uses its ids has no part in anything either: neither by an enrolment nor by a payment.
        await send(kafka, topic, records([forged]))
        enrolled = {"stream_id": stream, "enrollment_date": {"$ne": None}}
        await until(
            lambda: database.user_progress.count_documents(enrolled), "the forged enrolment is folded"
        )
        await send(kafka, topic, records([enrolment(1)]))
        await until(lambda: database.notifications.count_documents({}), "everybody else is counted")

    assert await database.user_progress.count_documents({"stream_id": stream}) == 1
    assert await database.user_interactions.count_documents({"metadata.user_id": canary_learner(now)}) >= 4
    for collection in (database.user_progress_projections, database.notifications):
        rows = await collection.find({}).to_list(None)
        assert rows
        assert not any(is_reserved(row["stream_id"]) for row in rows)
    assert await database.billing_transactions.count_documents({}) == 0
    assert (await verify(database, quiescent=True)).findings == ()
    case = Case(await asyncio.to_thread(read_stored, mongodb.uri, database.prefix))
    assert check_case(case, {4, 5, 6, 7}) == []
    await assert_explained(database, stream)


async def assert_explained(database: Database, stream: str) -> None:
    """Whoever asks for one of its events is told that nothing further follows from it."""
    wanted = {"stream_id": stream, "event_type": "lesson_view"}
    (one,) = await database.course_events.find(wanted).to_list(1)
    stops = {each.place: each for each in (await trace(database, str(one["_id"]), not_asked)).stops}
    assert stops["user_progress"].state == "there"
    assert stops["user_progress_projections"].detail.startswith("its ids are the canary's")
    assert "notifications" not in stops
    explained = await explain(database, stream)
    assert [(each.collection, each.agrees) for each in explained.documents] == [("user_progress", True)]


def enrolment(number: int, *, payment: dict[str, str] | None = None, **ids: str) -> dict[str, Any]:
    details = {"total_lessons": 1} if payment is None else {"total_lessons": 1, "payment": payment}
    made = event(number, event_type="course_enrolled", details=details, **ids)
    return {name: made[name] for name in made if name not in ("lesson_id", "value")}


@pytest.mark.slow
async def test_while_ingest_stands_it_is_late_and_what_waited_is_measured_when_it_goes_on(
    given: Settings, database: Database, kafka: str, topic: str
) -> None:
    async with running(given, database) as canary:
        await canary.until(lambda: canary.last_success() is not None, "it has begun")
        began = canary.last_success() or 0.0
        # It goes on sending, though nobody reads.
        await canary.until(lambda: at_least(kafka, topic, 8), "events wait in Kafka")
        await canary.until(lambda: time.time() - began > 2.5, "time passes")
        assert (canary.seen(), canary.last_success()) == (0, began)

        async with pipeline(database, kafka, topic):
            await canary.until(lambda: canary.seen() >= 8, "all that waited is seen")
        late = sample(canary.metrics, "sevenp_worker_canary_latency_seconds_bucket", {"le": "0.5"})
        assert late is not None
        assert canary.seen() - late >= 5
        assert (canary.last_success() or 0) > began + 2.5


async def at_least(kafka: str, topic: str, number: int) -> bool:
    return await sent(kafka, topic) >= number


@pytest.mark.slow
async def test_of_two_workers_one_sends_and_the_other_takes_over_where_it_stood(
    given: Settings, database: Database, kafka: str, topic: str
) -> None:
    async with pipeline(database, kafka, topic), running(given, database) as first:
        await first.until(lambda: first.seen() >= 2, "the first is seen")
        async with running(given, database) as second:
            lease = {"_id": group_name(NAME, 0)}
            owner = (await database.leases.find_one(lease) or {})["owner"]
            await first.until(lambda: first.seen() >= 15, "time passes")
            assert (await database.leases.find_one(lease) or {})["owner"] == owner
            assert (second.seen(), second.last_success()) == (0, None)

            last = first.last_success() or 0.0
            await first.kill()
            await second.until(lambda: second.seen() >= 2, "the second is seen")
            assert (second.last_success() or 0.0) > last
    assert sample(second.metrics, LAST, {}) is None
    assert (await database.leases.find_one(lease) or {})["owner"] is None


@pytest.mark.slow
async def test_one_that_is_started_again_and_again_does_not_hide_that_nothing_gets_through(
    given: Settings, database: Database, kafka: str, topic: str
) -> None:
    async with pipeline(database, kafka, topic), running(given, database) as first:
        await first.until(lambda: first.seen() >= 2, "it is seen")
    (document,) = await database.user_progress.find({}).to_list(None)
    last = document["time_tracking"]["last_activity"].timestamp()
    for _ in range(2):
        async with running(given, database) as again:
            await again.until(lambda: again.last_success() is not None, "it has begun")
            assert again.last_success() == last


async def test_without_a_broker_it_waits_says_so_once_and_can_be_stopped(
    given: Settings, database: Database
) -> None:
    nowhere = changed(given.kafka, bootstrap_servers="127.0.0.1:1")
    with capture_logs() as logs:
        async with running(given.model_copy(update={"kafka": nowhere}), database) as canary:
            await canary.until(lambda: [each for each in logs if each["event"] == "canary_waits"], "it waits")
            began = canary.last_success()
            assert began is not None
            assert canary.seen() == 0
    (told,) = [each for each in logs if each["event"] == "canary_waits"]
    assert "127.0.0.1:1" in told["reason"]


async def test_when_it_gets_through_again_all_that_waited_is_told_however_it_came(
    given: Settings, database: Database
) -> None:
    nowhere = changed(given.kafka, bootstrap_servers="127.0.0.1:1")
    slower = changed(given.canary, interval_s=1.0)
    silent = given.model_copy(update={"kafka": nowhere, "canary": slower})

    async def shown(canary: RunningCanary) -> bool:
        """One more event of those that wait is in its document, as if it had come by another way."""
        waiting = canary.role._waiting.events  # noqa: SLF001
        if waiting:
            version = await database.course_events.count_documents({}) + 1
            stored = {"_id": waiting[0].event_id, "stream_id": waiting[0].stream, "version": version}
            await database.course_events.insert_one(stored, bypass_document_validation=True)
            await database.user_progress.update_one(
                {"_id": waiting[0].document_id},
                {"$set": {"version": version}},
                upsert=True,
                bypass_document_validation=True,
            )
            await canary.until(lambda: waiting[0] not in canary.role._waiting.events, "it is seen")  # noqa: SLF001
        return any(each["event"] == "canary_seen_again" for each in logs)

    with capture_logs() as logs:
        async with running(silent, database) as canary:
            await canary.until(lambda: len(canary.role._waiting) >= 3, "events wait")  # noqa: SLF001
            await canary.until(lambda: shown(canary), "it says that all are seen")
            seen = canary.seen()
    (told,) = [each for each in logs if each["event"] == "canary_seen_again"]
    assert seen >= 3
    assert (told["events"], told["longest_s"] >= 2) == (seen, True)


async def test_what_only_an_operator_can_mend_ends_no_worker_and_it_begins_once_that_is_done(
    given: Settings, watched: Database
) -> None:
    nowhere = given.model_copy(update={"kafka": changed(given.kafka, bootstrap_servers="127.0.0.1:1")})
    with capture_logs() as logs:
        async with (
            failing(watched, ["find"], code=UNAUTHORIZED, times=1_000, collection="user_progress") as failed,
            running(nowhere, watched) as canary,
        ):
            await canary.until(lambda: [each for each in logs if each["event"] == "canary_waits"], "it waits")
            assert canary.last_success() is None
            assert await failed() >= 1  # which ends the failing
            await canary.until(lambda: canary.last_success() is not None, "it has begun")
    (told,) = [each for each in logs if each["event"] == "canary_waits"]
    assert "(13)" in told["reason"]


@pytest.mark.slow
def test_a_worker_has_it_where_somebody_asked_for_it(
    start_worker: StartWorker, settings: dict[str, str]
) -> None:
    with_canary = start_worker(canary_enabled="true", canary_interval_s="1")
    url = with_canary.wait_until_ready()
    without = start_worker(roles="notify").wait_until_ready()

    def seen() -> bool:
        text = fetch(f"{url}/metrics")[1]
        (line,) = [each for each in text.splitlines() if each.startswith(f"{COUNT} ")]
        return float(line.split()[1]) >= 1

    wait_until(seen, "the canary is seen")
    scraped, other = fetch(f"{url}/metrics")[1], fetch(f"{without}/metrics")[1]
    assert f"\n{LAST} " in scraped
    assert 'component_up{component="canary"} 1.0' in scraped
    assert LAST not in other.replace(f"# HELP {LAST}", "").replace(f"# TYPE {LAST}", "")
    assert "canary" in json.loads(fetch(f"{url}/livez")[1])["components"]
