"""The retry role on a real server: attempts, waits, the cap, turns, and processors that die."""

import asyncio
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest
from bson import ObjectId
from structlog.testing import capture_logs

from tests.support.clocks import ManualClock
from tests.support.failpoints import failing
from tests.support.retry import (
    EVENT_TYPE,
    LIMITS,
    Noting,
    RunningRetry,
    item,
    limited,
    processor,
    put,
    running,
    stored,
    with_status,
)
from tests.support.waiting import LIMIT_S, until
from worker.errors import Retryable
from worker.storage.database import Database
from worker.storage.work_items import Failed, Item, ItemId, Postponed, Verdict

NO_WAIT = limited(rate_per_s=1_000, backoff_s=0.01, longest_backoff_s=0.01, item_lease_s=5.0)


def attempts(retry: RunningRetry, outcome: str, error_class: str) -> float:
    """As the metric says, which is raised a moment after the documents are written."""
    return retry.value("retry_attempts_total", outcome=outcome, error_class=error_class)


async def test_what_is_due_is_done_once_and_says_when(database: Database) -> None:
    handler = Noting()
    await put(database, [item("a", "s1"), item("b", "s2"), item("later", "s3", due_at=in_an_hour())])
    async with running(database, {EVENT_TYPE: handler}) as retry:
        await retry.until_status("completed", 2)
        await until(lambda: attempts(retry, "completed", "none") == 2, "both are counted")
    assert sorted(each.id for each in handler.items if isinstance(each.id, str)) == ["a", "b"]
    done = await stored(database, "a")
    assert (done["retry_count"], done["lease_owner"], done["lease_until"]) == (1, None, None)
    assert done["processed_at"] >= done["last_retry"]
    assert (await stored(database, "later"))["status"] == "pending"


async def test_the_platform_s_own_items_are_taken_as_the_specification_makes_them(database: Database) -> None:
    handler = Noting()
    data = {"course_id": "c", "whatever": "nobody reads this"}
    bare = {"event_type": EVENT_TYPE, "data": data, "status": "pending", "retry_count": 0}
    await put(database, [{**bare, "_id": ObjectId(), "created_at": datetime.now(UTC)} for _ in range(30)])
    async with running(database, {EVENT_TYPE: handler}) as retry:
        await retry.until_status("completed", 30)
    assert handler.items[0].data == {"course_id": "c"}


async def test_items_of_types_nobody_handles_are_left_alone(database: Database) -> None:
    await put(database, [item("foreign", event_type="somebody_else_s"), item("ours")])
    async with running(database, {EVENT_TYPE: Noting()}) as retry:
        await retry.until_status("completed", 1)
    foreign = await stored(database, "foreign")
    assert (foreign["status"], foreign["retry_count"]) == ("pending", 0)


async def test_poison_ends_as_failed_after_three_attempts_and_stays(database: Database) -> None:
    handler = Noting(verdict=lambda each: Failed("KeyError", "no such thing", 7))
    await put(database, [item("poison", "s", last_error="first", version=3)])
    async with running(database, {EVENT_TYPE: handler}, limits=NO_WAIT) as retry:
        await retry.until_status("failed", 1)
        await put(database, [item("other", "t")])
        await until(lambda: len(handler.items) >= 6, "the other is tried, too")
        await retry.until_status("failed", 2)
        await until(lambda: attempts(retry, "exhausted", "KeyError") == 2, "the last attempts are counted")
        assert attempts(retry, "failed", "KeyError") == 4
    assert [each.attempt for each in handler.items if each.id == "poison"] == [1, 2, 3]
    poison = await stored(database, "poison")
    assert (poison["status"], poison["retry_count"], poison["processed_at"]) == ("failed", 3, None)
    assert (poison["error_class"], poison["last_error"], poison["version"]) == (
        "KeyError",
        "no such thing",
        7,
    )


async def test_the_last_attempt_is_an_error_with_the_command_to_look_with(database: Database) -> None:
    handler = Noting(verdict=lambda each: Failed("KeyError", "no such thing", 7))
    await put(database, [item("it's poison", "s")])
    with capture_logs() as logs:
        async with running(database, {EVENT_TYPE: handler}, limits=NO_WAIT) as retry:
            await retry.until_status("failed", 1)
            await until(lambda: attempts(retry, "exhausted", "KeyError") == 1, "the last attempt is counted")
    levels = [(each["event"], each["log_level"]) for each in logs if "attempt" in each]
    assert levels == [("retry_failed", "warning")] * 2 + [("retry_exhausted", "error")]
    [look] = [each["look"] for each in logs if "look" in each]
    assert shlex.split(look) == ["sevenp-worker", "queue", "show", "it's poison"]


async def test_a_failed_attempt_waits_in_sight(database: Database) -> None:
    limits = limited(rate_per_s=100, backoff_s=600.0, longest_backoff_s=3_600.0)
    handler = Noting(verdict=lambda _: Failed("ValueError", "not yet"))
    await put(database, [item(f"i{n}", f"s{n}") for n in range(20)])
    async with running(database, {EVENT_TYPE: handler}, limits=limits):
        await until(lambda: len(handler.items) == 20, "all tried")

        async def waiting() -> bool:
            return await with_status(database, "pending") == 20

        await until(waiting, "all completed")
    items = await database.analytics_queue.find({}).to_list(None)
    waits = [(each["due_at"] - each["last_retry"]).total_seconds() for each in items]
    assert all(0 < wait <= 601 for wait in waits)
    assert max(waits) - min(waits) > 100
    assert {each["retry_count"] for each in items} == {1}


async def test_what_could_not_be_attempted_costs_no_attempt(database: Database) -> None:
    answers: list[Verdict | None] = [Postponed("away")] * 5 + [None]
    handler = Noting(verdict=lambda _: answers.pop(0))
    await put(database, [item("a", "s")])
    async with running(database, {EVENT_TYPE: handler}, limits=NO_WAIT) as retry:
        await retry.until_status("completed", 1)
        await until(lambda: attempts(retry, "completed", "none") == 1, "the last attempt is counted")
        assert attempts(retry, "postponed", "unavailable") == 5
    assert (await stored(database, "a"))["retry_count"] == 1


async def test_a_dependency_that_is_away_costs_no_attempt(database: Database) -> None:
    answers: list[Exception] = [Retryable("away") for _ in range(4)]

    def away_at_first(_item: Item) -> Verdict | None:
        if answers:
            raise answers.pop()
        return None

    await put(database, [item("a", "s")])
    async with running(database, {EVENT_TYPE: Noting(verdict=away_at_first)}, limits=NO_WAIT) as retry:
        await retry.until_status("completed", 1)
    assert (await stored(database, "a"))["retry_count"] == 1


async def test_a_handler_that_raises_for_many_harms_only_the_one_it_raises_for(database: Database) -> None:
    def raises(each: Item) -> Verdict | None:
        if each.id == "bad":
            raise LookupError("of this one")
        return None

    await put(database, [item(f"good-{n}", f"s{n}") for n in range(9)])
    await put(database, [item("bad", "s5a")])
    async with running(database, {EVENT_TYPE: Noting(verdict=raises)}, limits=NO_WAIT) as retry:
        await retry.until_status("completed", 9)
        await retry.until_status("failed", 1)
    assert (await stored(database, "bad"))["error_class"] == "LookupError"


async def test_an_attempt_that_the_processor_did_not_survive_is_counted_and_made_alone(
    database: Database,
) -> None:
    kills = asyncio.Event()

    async def never_returns(items: Sequence[Item]) -> dict[ItemId, Verdict]:
        kills.set()
        await asyncio.Event().wait()
        return {}

    limits = limited(rate_per_s=1_000, backoff_s=0.01, longest_backoff_s=0.01, item_lease_s=0.3)
    await put(database, [item(f"i{n}", f"s{n}") for n in range(4)])
    async with running(database, {EVENT_TYPE: never_returns}, limits=limits, lease_s=1.0) as target:
        await asyncio.wait_for(kills.wait(), LIMIT_S)
        await target.kill()
    held = await database.analytics_queue.find({}).to_list(None)
    assert {(each["status"], each["retry_count"]) for each in held} == {("processing", 1)}

    handler = Noting()
    async with running(database, {EVENT_TYPE: handler}, limits=NO_WAIT, lease_s=1.0) as next_one:
        await next_one.until_status("completed", 4)
    assert [len(items) for _, items in handler.calls] == [1, 1, 1, 1]
    assert [each.attempt for each in handler.items] == [2, 2, 2, 2]


@pytest.mark.slow
async def test_an_item_that_kills_each_of_its_processors_ends_as_failed(database: Database) -> None:
    limits = limited(rate_per_s=1_000, item_lease_s=0.2)
    await put(database, [item("killer", "s")])
    for attempt in (1, 2, 3):
        begun = asyncio.Event()

        async def never_returns(items: Sequence[Item], begun: asyncio.Event = begun) -> dict[ItemId, Verdict]:
            begun.set()
            await asyncio.Event().wait()
            return {}

        async with running(database, {EVENT_TYPE: never_returns}, limits=limits, lease_s=1.0) as target:
            await asyncio.wait_for(begun.wait(), LIMIT_S)
            assert (await stored(database, "killer"))["retry_count"] == attempt
            await target.kill()
    async with running(database, {EVENT_TYPE: Noting()}, limits=limits, lease_s=1.0) as survivor:
        await survivor.until_status("failed", 1)
    killer = await stored(database, "killer")
    assert (killer["error_class"], killer["retry_count"]) == ("Interrupted", 3)


async def test_a_last_attempt_that_was_cut_off_once_is_made_again(database: Database) -> None:
    begun = asyncio.Event()

    async def never_returns(items: Sequence[Item]) -> dict[ItemId, Verdict]:
        begun.set()
        await asyncio.Event().wait()
        return {}

    limits = limited(rate_per_s=1_000, item_lease_s=0.2)
    await put(database, [item("unlucky", "s", retry_count=2, error_class="Taken", last_error="it is taken")])
    async with running(database, {EVENT_TYPE: never_returns}, limits=limits, lease_s=1.0) as target:
        await asyncio.wait_for(begun.wait(), LIMIT_S)
        await target.kill()
    handler = Noting(verdict=lambda _item: Failed("Taken", "it is taken"))
    async with running(database, {EVENT_TYPE: handler}, limits=limits, lease_s=1.0) as survivor:
        await survivor.until_status("failed", 1)
    assert [each.attempt for each in handler.items] == [3]
    unlucky = await stored(database, "unlucky")
    assert (unlucky["error_class"], unlucky["last_error"]) == ("Taken", "it is taken")


async def test_a_last_attempt_among_others_is_made_again_alone(database: Database) -> None:
    alone = Noting()

    async def raises_for_several(items: Sequence[Item]) -> Mapping[ItemId, Verdict]:
        if len(items) > 1:
            raise RuntimeError("one of them")
        return await alone(items)

    await put(database, [item("a", "s1", retry_count=2), item("b", "s2", retry_count=2)])
    async with running(database, {EVENT_TYPE: raises_for_several}, limits=NO_WAIT) as retry:
        await retry.until_status("completed", 2)
    assert sorted((str(each.id), each.attempt) for each in alone.items) == [("a", 3), ("b", 3)]


async def test_a_processor_that_comes_too_late_writes_nothing(database: Database) -> None:
    released = asyncio.Event()

    async def slow(items: Sequence[Item]) -> dict[ItemId, Verdict]:
        await released.wait()
        return {}

    limits = limited(rate_per_s=1_000, item_lease_s=0.2)
    await put(database, [item("a", "s")])
    async with running(database, {EVENT_TYPE: slow}, limits=limits) as late:

        async def held() -> bool:
            return await with_status(database, "processing") == 1

        await until(held, "claimed")
        other = item("a", "s", status="processing", lease_owner="another/1", retry_count=2)
        await database.analytics_queue.replace_one({"_id": "a"}, {**other, "lease_until": in_an_hour()})
        released.set()
        await late.drain()
    assert (await stored(database, "a"))["lease_owner"] == "another/1"


async def test_what_failed_under_other_code_is_tried_again(database: Database) -> None:
    failed = {"status": "failed", "retry_count": 3}
    await put(database, [item("old", "s", **failed, code_version="before"), item("ours", "t", **failed)])
    handler = Noting()
    async with running(database, {EVENT_TYPE: handler}) as retry:
        await retry.until_status("completed", 1)
    assert [(each.id, each.attempt) for each in handler.items] == [("old", 1)]
    assert (await stored(database, "ours"))["status"] == "failed"


async def test_a_failure_met_during_a_successful_attempt_opens_the_item_again(database: Database) -> None:
    tries = 0

    async def meets_another(items: Sequence[Item]) -> dict[ItemId, Verdict]:
        nonlocal tries
        tries += 1
        if tries == 1:
            await database.analytics_queue.update_one({"_id": "a"}, {"$inc": {"occurrences": 1}})
        return {}

    await put(database, [item("a", "s", occurrences=1)])
    async with running(database, {EVENT_TYPE: meets_another}) as retry:
        await retry.until_status("completed", 1)
    assert tries == 2
    assert (await stored(database, "a"))["retry_count"] == 1


async def test_work_that_is_asked_for_again_during_an_attempt_gets_one_of_its_own(database: Database) -> None:
    tries = 0
    asked = {"event_type": EVENT_TYPE, "data": {}, "status": "pending", "retry_count": 0}

    async def meets_another(items: Sequence[Item]) -> dict[ItemId, Verdict]:
        nonlocal tries
        tries += 1
        if tries == 1:
            again = {**asked, "created_at": datetime.now(UTC)}
            await database.analytics_queue.update_one({"_id": "a"}, {"$set": again}, upsert=True)
        return {}

    await put(database, [{**asked, "_id": "a", "created_at": datetime.now(UTC)}])
    async with running(database, {EVENT_TYPE: meets_another}):
        await until(lambda: tries == 2, "tried once more")

        async def done() -> bool:
            return await with_status(database, "completed") == 1

        await until(done, "completed")
    assert tries == 2


async def test_a_stream_with_a_thousand_items_has_one_turn_as_every_other(database: Database) -> None:
    hog = [item(f"hog-{n:04}", "stream-b") for n in range(1_000)]
    others = [item(f"{name}-{n}", f"stream-{name}") for name in "acdefghij" for n in range(3)]
    await put(database, [*hog, *others])
    handler = Noting()
    limits = limited(rate_per_s=200)
    async with running(database, {EVENT_TYPE: handler}, limits=limits):

        def all_others_done() -> bool:
            return sum(each.stream_id != "stream-b" for each in handler.items) == len(others)

        await until(all_others_done, "all others done")
    streams = Counter(each.stream_id for each in handler.items)
    assert streams["stream-b"] <= 10
    assert all(len({each.stream_id for each in items}) == len(items) for _, items in handler.calls)


async def test_items_without_a_stream_do_not_shut_out_streams(database: Database) -> None:
    await put(database, [item(f"loose-{n:03}", due_at=long_ago()) for n in range(300)])
    await put(database, [item(f"fold-{n}", f"stream-{n}") for n in range(10)])
    handler = Noting()
    async with running(database, {EVENT_TYPE: handler}, limits=limited(rate_per_s=100)):
        await until(lambda: sum(each.stream_id is not None for each in handler.items) == 10, "folds done")
    assert all(each.stream_id is None for each in handler.items[40:])


@pytest.mark.slow
@pytest.mark.parametrize("rate", [7, 40])
async def test_attempts_claims_and_outcomes_keep_below_the_cap_in_every_second(
    database: Database, rate: int
) -> None:
    count = rate * 4
    await put(database, [item(f"i{n}", f"s{n}") for n in range(count)])
    handler = Noting()
    async with running(database, {EVENT_TYPE: handler}, limits=limited(rate_per_s=rate)) as retry:
        await retry.until_status("completed", count)
    items = await database.analytics_queue.find({}).to_list(None)
    calls = chain.from_iterable([at] * len(given) for at, given in handler.calls)
    assert most_in_a_second(calls) <= rate
    assert most_in_a_second(each["last_retry"].timestamp() for each in items) <= rate
    assert most_in_a_second(each["processed_at"].timestamp() for each in items) <= rate


@pytest.mark.long
async def test_a_backlog_is_drained_at_the_cap_by_the_clock_it_is_given(database: Database) -> None:
    clock, rate, count = ManualClock(), 2_000, 100_000
    await put(database, [item(f"i{n}", f"s{n}") for n in range(count)])
    handler = Noting(clock=clock)
    far = {"lease_s": 10_000.0, "renewals_per_lease": 2.0, "measure_every_s": 5_000.0}
    limits = limited(rate_per_s=rate)
    async with running(database, {EVENT_TYPE: handler}, clock=clock, limits=limits, **far):
        await until(lambda: len(handler.items) == count, "drained", 5 * LIMIT_S)
    moments = [at for at, given in handler.calls for _ in given]
    assert most_in_a_second(moments) <= rate
    assert count / rate - 1 <= moments[-1] - moments[0] <= count / rate * 1.02


async def test_two_processors_keep_one_cap_and_the_second_takes_over(database: Database) -> None:
    rate, count = 50, 200
    await put(database, [item(f"i{n}", f"s{n}") for n in range(count)])
    handler, limits = Noting(), limited(rate_per_s=rate)
    async with (
        running(database, {EVENT_TYPE: handler}, limits=limits, owner="a") as first,
        running(database, {EVENT_TYPE: handler}, limits=limits, owner="b") as second,
    ):
        await until(lambda: len(handler.items) >= rate, "begun")

        def one_holds() -> bool:
            return sum(each.value("lease_held", lease="retry:00") for each in (first, second)) == 1

        await until(one_holds, "one holds the lease")
        holder, other = (first, second) if first.value("lease_held", lease="retry:00") else (second, first)
        await holder.drain()
        await other.until_status("completed", count)
    assert most_in_a_second(at for at, given in handler.calls for _ in given) <= rate
    assert len(handler.items) == count


@pytest.mark.slow
async def test_a_processor_that_slept_through_another_s_turn_leaves_a_second_to_it(
    database: Database,
) -> None:
    rate, limits = 40, limited(rate_per_s=40)
    asleep, awake = asyncio.Event(), asyncio.Event()
    handler = Noting()

    async def sleeps(items: Sequence[Item]) -> Mapping[ItemId, Verdict]:
        if not asleep.is_set():
            asleep.set()
            await awake.wait()
            return {}
        return await handler(items)

    await put(database, [item(f"i{n:03}", f"s{n:03}") for n in range(rate * 10)])
    async with running(database, {EVENT_TYPE: sleeps}, limits=limits, owner="a", lease_s=0.5) as first:
        await until(asleep.is_set, "the first is in the middle of a turn")
        async with running(database, {EVENT_TYPE: handler}, limits=limits, owner="b") as second:
            await until(lambda: len(handler.items) >= rate * 2, "the second took over")
            await second.drain()
        tried = len(handler.items)
        awake.set()
        await until(lambda: len(handler.items) >= tried + rate, "the first goes on")
        await first.drain()
    assert most_in_a_second(at for at, given in handler.calls for _ in given) <= rate


async def test_it_waits_for_a_server_that_does_not_answer_and_goes_on(
    database: Database, watched: Database
) -> None:
    handler = Noting()
    async with (
        running(watched, {EVENT_TYPE: handler}) as retry,
        failing(watched, ["find", "update"], code=189, collection="analytics_queue", times=6) as entered,
    ):
        await put(database, [item(f"i{n}", f"s{n}") for n in range(20)])
        await retry.until_status("completed", 20)
        assert 0 < await entered() <= 6


async def test_it_stops_at_once_when_there_is_nothing_to_do(database: Database) -> None:
    role = processor(database, {EVENT_TYPE: Noting()}, limits=LIMITS, poll_every_s=600.0)
    stop = asyncio.Event()
    task = asyncio.create_task(role.run(stop))

    async def held() -> bool:
        return bool(await database.leases.count_documents({"_id": "retry:00", "owner": {"$ne": None}}))

    await until(held, "lease taken")
    stop.set()
    await asyncio.wait_for(task, LIMIT_S)  # far less than its wait
    assert not await held()


def most_in_a_second(moments: Iterable[float]) -> int:
    """The largest number of moments in any second, wherever it begins."""
    ordered = sorted(moments)
    most = begin = 0
    for end, moment in enumerate(ordered):
        while moment - ordered[begin] >= 1.0:
            begin += 1
        most = max(most, end - begin + 1)
    return most


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def long_ago() -> datetime:
    return datetime.now(UTC) - timedelta(days=1)
