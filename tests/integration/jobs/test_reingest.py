"""`reingest`: what the store lacks comes back once, with its row and unannounced; what it has stays as it is."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import Sent, event, options, records, running, send, with_kafka
from tests.support.jobs import parts
from tests.support.restored import AFTER, BEFORE, all_committed, at_rest, go_back, held, missing
from tests.support.settings import changed
from tests.support.waiting import until
from worker.contract.codec import encode
from worker.errors import Refused, TopicMissing
from worker.ingest.options import IngestOptions
from worker.jobs.context import Parts
from worker.jobs.reingest import REINGEST, ReingestArguments
from worker.jobs.runner import Result, Runner
from worker.storage.database import Database, Document
from worker.timing import cancel_and_wait
from worker.verify.run import verify

MISSING = ReingestArguments(missing=True)
ALL = ReingestArguments(from_offset=0)


class Gate:
    """Lets a run pass, after doing what a test wants to happen between two of its steps."""

    def __init__(self, steps: int | None = None) -> None:
        self.passed = 0
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self._stops_after = steps

    async def reached_or(self, job: "asyncio.Task[Result]") -> None:
        """Return when the run stands here, or is over."""
        await until(lambda: self.reached.is_set() or job.done(), "some steps are done")

    async def closed(self) -> str | None:
        self.passed += 1
        if self.passed == self._stops_after:
            self.reached.set()
            await self.go_on.wait()
        return None


def parts_of(
    database: Database, chosen: IngestOptions, gate: Gate | None = None, max_records: int = 5
) -> Parts:
    """What a run is given that reads in small batches, so that it has several steps."""
    given = parts(database, lease_s=2.0)
    groups = {
        "kafka": chosen.consumer.kafka,
        "ingest": changed(chosen.settings, max_records=max_records),
    }
    return replace(given, settings=given.settings.model_copy(update=groups), gate=gate or Gate())


async def reingested(
    database: Database, chosen: IngestOptions, arguments: ReingestArguments, **given: Any
) -> Result:
    return await Runner(parts_of(database, chosen), "anna@ops-1").run(REINGEST, arguments, **given)


async def origins(database: Database) -> Counter[str | None]:
    found = await database.course_events.find({}, {"metadata.origin": 1}).to_list(None)
    return Counter(each["metadata"].get("origin") for each in found)


@pytest.mark.slow
async def test_what_a_restored_store_lacks_comes_back_beside_a_worker_that_goes_on(
    database: Database, kafka: str, topic: str
) -> None:
    restored = await go_back(database, kafka, options(kafka, topic))
    live = [event(2_000 + number) for number in range(30)]
    async with running(database, restored.chosen) as ingest:
        await ingest.until_assigned(4)
        result, _ = await asyncio.gather(
            reingested(database, restored.chosen, MISSING), send(kafka, topic, records(live))
        )
        await ingest.until(all_committed(kafka, topic), "the worker has gone on")
        await ingest.until(
            lambda: ingest.value("kafka_missing_records", topic=topic) == 0,
            "the worker sees that all is back",
        )
        assert ingest.value("fenced_writes_total", component="ingest") == 0
    assert result.run.counts["stored"] == AFTER
    assert result.run.progress.done == result.run.progress.total == AFTER
    assert not missing(await held(database, topic))
    await assert_exactly_once(database, [*restored.kept, *restored.lost, *live])
    assert await origins(database) == {"reingest": AFTER, None: BEFORE + len(live)}
    assert (await reingested(database, restored.chosen, MISSING)).outcome == {"spans": []}
    again = await reingested(
        database, restored.chosen, ReingestArguments(from_offset=0, topics=(topic,)), dry_run=True
    )
    assert {each.partition("/")[0] for each in again.outcome["spans"]} == {topic}
    with pytest.raises(Refused, match="the worker reads no topic another"):
        await reingested(database, restored.chosen, ReingestArguments(from_offset=0, topics=("another",)))
    assert not (await verify(database)).findings


@pytest.mark.slow
async def test_it_may_come_before_the_first_worker_which_then_finds_nothing_missing(
    database: Database, kafka: str, topic: str
) -> None:
    restored = await go_back(database, kafka, options(kafka, topic))
    dry = await reingested(database, restored.chosen, MISSING, dry_run=True)
    assert dry.outcome == {
        "records": AFTER,
        "spans": [
            f"{topic}/{number} from {ranges[0].first_offset} to {ranges[0].last_offset}"
            for number, ranges in restored.ranges.items()
        ],
        "lost": [],
    }
    assert await database.course_events.count_documents({}) == BEFORE
    await reingested(database, restored.chosen, MISSING)
    async with running(database, restored.chosen) as ingest:
        await ingest.until_assigned(4)
        assert ingest.value("kafka_missing_records", topic=topic) == 0
    await assert_exactly_once(database, [*restored.kept, *restored.lost])


async def everything(database: Database) -> list[Document]:
    return [
        *await database.course_events.find({}).sort("_id", 1).to_list(None),
        *await database.user_interactions.find({}).sort("_id", 1).to_list(None),
        *await database.dead_letters.find({}).sort("_id", 1).to_list(None),
    ]


async def test_what_is_stored_changes_by_nothing_and_a_dead_letter_stays_one(
    database: Database, kafka: str, topic: str
) -> None:
    chosen = options(kafka, topic)
    first = event(1)
    sent = [
        *records([event(number) for number in range(12)]),
        *records([first, first, {**first, "value": 99}]),
        Sent(b"no json"),
        Sent(encode(event(2, user_id="nobody"))),
        Sent(None, key=b"tombstone"),
    ]
    async with at_rest(database, chosen, kafka):
        await send(kafka, topic, sent)
    before = await everything(database)
    result = await reingested(database, chosen, ALL)
    assert await everything(database) == before
    counts = result.run.counts
    assert (counts["stored"], counts["redelivered"], counts["duplicate"]) == (0, 13, 1)
    assert (counts["conflict"], counts["dead_lettered"], counts["skipped"]) == (1, 2, 1)


@pytest.mark.slow
async def test_rows_and_dead_letters_that_are_missing_come_back_once(
    database: Database, kafka: str, topic: str
) -> None:
    chosen = options(kafka, topic)
    published = [event(number) for number in range(30)]
    async with at_rest(database, chosen, kafka):
        await send(kafka, topic, [*records(published), Sent(b"no json")])
    for each in published[:7]:
        await database.user_interactions.delete_many({"metadata.session_id": each["session_id"]})
    await database.dead_letters.delete_many({})
    await reingested(database, chosen, ALL)
    await assert_exactly_once(database, published)
    assert await database.dead_letters.count_documents({"kind": "record"}) == 1


@pytest.mark.slow
async def test_killed_anywhere_it_goes_on_and_nothing_is_lost_or_twice(
    database: Database, kafka: str, topic: str
) -> None:
    restored = await go_back(database, kafka, options(kafka, topic))
    kills = 0
    for steps in (1, 2, 3, 2, 1):
        gate = Gate(steps)
        running_job = asyncio.create_task(
            Runner(parts_of(database, restored.chosen, gate, max_records=2), "anna@ops-1").run(
                REINGEST, MISSING
            )
        )
        await gate.reached_or(running_job)
        kills += not running_job.done()
        await cancel_and_wait(running_job)
    assert kills >= 3
    await reingested(database, restored.chosen, MISSING)
    await assert_exactly_once(database, [*restored.kept, *restored.lost])
    assert not missing(await held(database, topic))


@pytest.mark.slow
async def test_what_the_group_has_committed_no_more_is_left_and_stays_missing(
    database: Database, kafka: str, topic: str
) -> None:
    restored = await go_back(database, kafka, options(kafka, topic))
    before = await held(database, topic)
    gate = Gate(2)  # the spans are planned and saved, and nothing is read
    first = Runner(parts_of(database, restored.chosen, gate, max_records=2), "anna@ops-1")
    running_job = asyncio.create_task(first.run(REINGEST, MISSING))
    await gate.reached_or(running_job)
    await cancel_and_wait(running_job)

    another = with_kafka(restored.chosen, group_id=f"another-{topic}")
    result = await reingested(database, another, MISSING)

    assert result.outcome["left"]
    assert REINGEST.differs(result.outcome)
    assert await held(database, topic) == before
    await reingested(database, restored.chosen, MISSING)
    assert await held(database, topic) != before
    await assert_exactly_once(database, [*restored.kept, *restored.lost])


@pytest.mark.slow
async def test_of_a_span_that_the_group_has_committed_in_part_the_rest_is_named_and_comes_back_later(
    database: Database, kafka: str, topic: str
) -> None:
    """The offsets of the group were set back when the run had been planned."""
    restored = await go_back(database, kafka, options(kafka, topic))
    gate = Gate(2)  # the spans are planned and saved, and nothing is read
    first = Runner(parts_of(database, restored.chosen, gate, max_records=2), "anna@ops-1")
    running_job = asyncio.create_task(first.run(REINGEST, MISSING))
    await gate.reached_or(running_job)
    await cancel_and_wait(running_job)

    planned = {number: ranges[0] for number, ranges in restored.ranges.items()}
    another = with_kafka(restored.chosen, group_id=f"another-{topic}")
    await commit(kafka, f"another-{topic}", topic, {n: each.first_offset + 1 for n, each in planned.items()})
    result = await reingested(database, another, MISSING)

    rest = {n: each for n, each in planned.items() if each.last_offset > each.first_offset}
    assert rest
    assert result.outcome["left"] == [
        f"{topic}/{n} from {each.first_offset + 1} to {each.last_offset}" for n, each in rest.items()
    ]
    assert REINGEST.differs(result.outcome)
    assert result.run.counts["stored"] == len(planned)
    still = await held(database, topic)
    assert {n: still[n].durable for n in planned} == {n: each.first_offset + 1 for n, each in planned.items()}
    await reingested(database, restored.chosen, MISSING)
    assert not missing(await held(database, topic))
    await assert_exactly_once(database, [*restored.kept, *restored.lost])


async def commit(kafka: str, group: str, topic: str, offsets: Mapping[int, int]) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, number) for number in offsets])
        await consumer.commit({TopicPartition(topic, number): at for number, at in offsets.items()})
    finally:
        await consumer.stop()


@pytest.mark.slow
async def test_an_owner_that_takes_the_partitions_meanwhile_fences_it_and_it_goes_on(
    database: Database, kafka: str, topic: str
) -> None:
    restored = await go_back(database, kafka, options(kafka, topic))
    gate = Gate(2)
    job = Runner(parts_of(database, restored.chosen, gate, max_records=2), "anna@ops-1")
    reading = asyncio.create_task(job.run(REINGEST, MISSING))
    await gate.reached_or(reading)
    async with running(database, restored.chosen) as ingest:
        await ingest.until_assigned(4)
        gate.go_on.set()
        assert (await reading).run.status == "succeeded"
        assert ingest.value("fenced_writes_total", component="ingest") == 0
    await assert_exactly_once(database, [*restored.kept, *restored.lost])


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "say where to begin"),
        ({"from_offset": 1, "missing": True}, "one of them"),
        ({"from_offset": 1, "to_offset": 2, "to_time": "2026-01-01T00:00:00Z"}, "two ends"),
        ({"missing": True, "to_offset": 2}, "knows its own end"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ReingestArguments(**asked)


async def test_a_topic_that_does_not_exist_is_named(database: Database, kafka: str) -> None:
    with pytest.raises(TopicMissing, match="topic nowhere does not exist"):
        await reingested(database, options(kafka, "nowhere"), ALL)
