"""Several workers on Apache Kafka: they share the work, take over from each other, and the results stay exact."""

import signal
from pathlib import Path

from tests.apache.fleet import LIMIT_S, Fleet, Worker, fleet
from tests.apache.freezing import ORDER_VARIABLE
from tests.apache.load import Load
from tests.conftest import RunningMongo
from tests.support.waiting import until
from worker.storage.database import Database
from worker.storage.shares import GROUPS
from worker.timing import Deadline, SystemClock

PER_S = 500
ZOMBIE_S = 60.0
STEADY_EVENTS = 3_000
LEAST_SHARE = 0.3


async def test_workers_join_leave_die_and_freeze_and_nothing_is_lost_or_twice(
    tmp_path: Path, database: Database, mongodb: RunningMongo, kafka: str
) -> None:
    async with (
        fleet(tmp_path, database, mongodb.uri, kafka) as ours,
        Load(kafka, ours.topic, seed=5_000, per_s=PER_S) as load,
    ):
        order = tmp_path / "freeze"
        first, second = ours.start("first"), ours.start("second")
        third = ours.start("third", module="tests.apache.freezing", **{ORDER_VARIABLE: str(order)})
        await ours.owned_by(first, second, third)

        order.touch()
        await until(lambda: not order.exists(), "the third to freeze with a batch in hand", LIMIT_S)
        frozen_until = Deadline.after(SystemClock(), ZOMBIE_S)
        await ours.owned_by(first, second)
        fourth = ours.start("fourth")
        await ours.owned_by(first, second, fourth)
        assert await first.stop() == 0
        await ours.owned_by(second, fourth)
        await second.kill()
        fifth = ours.start("fifth")
        await ours.owned_by(fourth, fifth)
        await assert_steady_shares(ours, fourth, fifth)
        await until(lambda: frozen_until.passed, "a minute to pass", LIMIT_S)

        third.process.popen.send_signal(signal.SIGCONT)
        await until(lambda: fenced(third), "the third to be fenced", LIMIT_S)
        await ours.owned_by(third, fourth, fifth)
        await load.stop()
        await ours.drained(load)
        assert await ours.stop_all(third, fourth, fifth) == [0, 0, 0]

        assert await ours.wrong(load) == []
        assert (await ours.verified()).finding_counts == {}


async def test_a_named_worker_restarts_without_a_rebalance_of_the_others(
    tmp_path: Path, database: Database, mongodb: RunningMongo, kafka: str
) -> None:
    # A busy machine needs its time to start a worker; nothing waits for the session to end.
    patient = {"SEVENP_SESSION_TIMEOUT_MS": "60000"}
    async with (
        fleet(tmp_path, database, mongodb.uri, kafka) as ours,
        Load(kafka, ours.topic, seed=6_000, per_s=PER_S) as load,
    ):
        stays = ours.start("stays", SEVENP_KAFKA_GROUP_INSTANCE_ID="stays", **patient)
        moves = ours.start("moves", SEVENP_KAFKA_GROUP_INSTANCE_ID="moves", **patient)
        await ours.owned_by(stays, moves)
        before = await stays.rebalances()

        assert await moves.stop() == 0
        again = ours.start("again", SEVENP_KAFKA_GROUP_INSTANCE_ID="moves", **patient)
        await ours.owned_by(stays, again)
        await again.kill()
        once_more = ours.start("once-more", SEVENP_KAFKA_GROUP_INSTANCE_ID="moves", **patient)
        await ours.owned_by(stays, once_more)

        assert before > 0
        assert await stays.rebalances() == before
        await load.stop()
        await ours.drained(load)
        assert await ours.stop_all(stays, once_more) == [0, 0]
        assert await ours.wrong(load) == []


async def assert_steady_shares(ours: Fleet, *workers: Worker) -> None:
    """Each has its share of the slot groups, soon, and then of the events, in a while in which nothing moves."""

    async def shared() -> bool:  # groups are handed over one after the other
        return min([await each.groups() for each in workers]) >= LEAST_SHARE * GROUPS

    for _ in range(5):  # a busy machine may make a worker miss its heartbeats
        await ours.owned_by(*workers)
        await until(shared, "a share of the groups for each", LIMIT_S)
        before = [(await each.rebalances(), await each.groups()) for each in workers]
        begin = [await each.processed() for each in workers]

        async def enough(begin: list[int] = begin) -> bool:
            return sum([await each.processed() for each in workers]) - sum(begin) >= STEADY_EVENTS

        await until(enough, f"{STEADY_EVENTS} events", LIMIT_S)
        done = [await each.processed() - earlier for each, earlier in zip(workers, begin, strict=True)]
        if before == [(await each.rebalances(), await each.groups()) for each in workers]:
            assert min(done) >= LEAST_SHARE * sum(done), done
            return
    raise AssertionError("the workers never came to rest")


async def fenced(worker: Worker) -> bool:
    worker.process.require_alive()
    return await worker.metric("fenced_writes_total", component="ingest") > 0
