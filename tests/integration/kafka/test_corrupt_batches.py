"""A record batch nobody can decode, on a real broker behind a proxy that damages what is fetched."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from tests.integration.kafka import damage
from tests.integration.kafka.damage import Damage, FetchProxy, proxied, send_batches
from tests.support.ingest import RunningIngest, Sent, event, options, records, running, send
from tests.support.kafka import durable, make_topic
from tests.support.waiting import until
from worker.contract.codec import encode
from worker.ingest.options import IngestOptions
from worker.kafka.files import OutgoingRecord
from worker.retry.dead_letters import Kept, find_names, read_kept
from worker.retry.redrive import Skipped, redrive
from worker.retry.selection import Selection
from worker.storage.database import Database

NOT_LEADER = 6


def through(proxy: FetchProxy, topic: str) -> IngestOptions:
    return options(proxy.bootstrap_servers, topic)


def events(count: int) -> list[dict[str, Any]]:
    return [event(number) for number in range(count)]


def ids(*published: Sequence[dict[str, Any]]) -> set[uuid.UUID]:
    return {uuid.UUID(fields["event_id"]) for batch in published for fields in batch}


async def stored_ids(database: Database) -> set[uuid.UUID]:
    return {row["_id"] for row in await database.course_events.find({}, {"_id": 1}).to_list(None)}


async def gap_ranges(database: Database) -> list[tuple[int, int, int]]:
    dead_letters = await database.dead_letters.find({"kind": "gap"}).sort({"offset": 1}).to_list(None)
    assert all(
        (dead_letter["reason"], dead_letter["value"]) == ("undecodable", None) for dead_letter in dead_letters
    )
    return [
        (dead_letter["partition"], dead_letter["gap"]["first_offset"], dead_letter["gap"]["last_offset"])
        for dead_letter in dead_letters
    ]


def gaps_counted(ingest: RunningIngest) -> float:
    return ingest.value("gap_records_total", reason="undecodable")


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken",
    [
        damage.wrong_checksum,
        damage.wrong_checksum_and_header,
        damage.unknown_codec,
        damage.not_compressed_as_said,
        damage.bomb,
    ],
)
async def test_a_broken_batch_becomes_one_gap_record_and_its_neighbours_are_stored(
    database: Database, kafka: str, topic: str, broken: Damage
) -> None:
    before, lost, after, elsewhere = events(10), events(7), events(5), events(40)
    async with proxied(kafka) as proxy, running(database, through(proxy, topic)) as ingest:
        await ingest.until_assigned(4)
        proxy.break_batch(0, 10, broken)
        await send(kafka, topic, [replace(r, partition=1 + n % 3) for n, r in enumerate(records(elsewhere))])
        await send_batches(kafka, topic, 0, [records(before), records(lost), records(after)])
        await ingest.until_processed(55)
        assert gaps_counted(ingest) == 1
        await ingest.until_moved("gap_records_total")
    assert await stored_ids(database) == ids(before, after, elsewhere)
    assert await gap_ranges(database) == [(0, 10, 16)]
    assert await database.user_interactions.count_documents({}) == 55
    assert (await durable(kafka, topic, 2))[0] == 22


async def test_good_batches_between_broken_ones_and_in_other_partitions_are_all_stored(
    database: Database, kafka: str, topic: str
) -> None:
    batches, elsewhere = [events(3) for _ in range(9)], events(60)
    await send(
        kafka, topic, [replace(r, partition=(0, 1, 3)[n % 3]) for n, r in enumerate(records(elsewhere))]
    )
    await send_batches(kafka, topic, 2, [records(batch) for batch in batches])
    async with proxied(kafka) as proxy:
        for number in (0, 2, 4, 5, 8):
            proxy.break_batch(2, number * 3, damage.unknown_codec)
        async with running(database, through(proxy, topic)) as ingest:
            await until(lambda: gaps_counted(ingest) == 5, "five gaps")
            await ingest.until_processed(72)
    assert await stored_ids(database) == ids(elsewhere, *(batches[n] for n in (1, 3, 6, 7)))
    assert await gap_ranges(database) == [(2, 0, 2), (2, 6, 8), (2, 12, 14), (2, 15, 17), (2, 24, 26)]


async def test_records_of_a_batch_before_the_broken_one_in_it_are_stored(
    database: Database, kafka: str, topic: str
) -> None:
    published, next_one = events(6), events(1)
    await send_batches(kafka, topic, 1, [records(published)])
    async with proxied(kafka) as proxy:
        proxy.break_batch(1, 0, damage.records_cut)
        async with running(database, through(proxy, topic)) as ingest:
            await until(lambda: gaps_counted(ingest) == 1, "a gap")
            await send_batches(kafka, topic, 1, [records(next_one)])
            await ingest.until_processed(6)
    assert await stored_ids(database) == ids(published[:5], next_one)
    assert await gap_ranges(database) == [(1, 5, 5)]


@pytest.mark.parametrize("codec", [0, 4])
async def test_headers_that_cannot_be_read_cost_neither_their_record_nor_its_neighbours(
    database: Database, kafka: str, topic: str, codec: int
) -> None:
    """Nobody needs them: an event is stored, and a dead letter has them as bytes."""
    published, next_one = events(6), events(1)
    sent = [replace(each, headers=(("trace", b"x"),)) for each in records(published)]
    await send_batches(
        kafka, topic, 1, [[*sent[:3], Sent(b"no json", b"k", headers=sent[0].headers), *sent[3:]]]
    )
    async with proxied(kafka) as proxy:
        proxy.break_batch(1, 0, partial(damage.header_name_not_utf8, codec=codec))
        async with running(database, through(proxy, topic)) as ingest:
            await ingest.until_processed(7)
            await send_batches(kafka, topic, 1, [records(next_one)])
            await ingest.until_processed(8)
            assert (ingest.outcome("stored"), ingest.outcome("dead_lettered")) == (7, 1)
            assert gaps_counted(ingest) == 0
    assert await stored_ids(database) == ids(published, next_one)
    assert await gap_ranges(database) == []
    assert (await durable(kafka, topic, 2))[1] == 8
    found = await read_kept(database, (await find_names(database, Selection()))[0])
    assert found is not None
    assert found[1] == Kept(b"k", [(b"tr\xffce", b"x")], b"no json")


async def test_a_record_that_is_broken_in_itself_is_kept_as_its_bytes_and_its_neighbours_are_stored(
    database: Database, kafka: str, topic: str
) -> None:
    published = events(6)
    sent = records(published)
    sent[3] = replace(sent[3], headers=(("trace", b"x"),))
    await send_batches(kafka, topic, 1, [sent])
    async with proxied(kafka) as proxy:
        proxy.break_batch(1, 0, damage.header_too_long)
        async with running(database, through(proxy, topic)) as ingest:
            await ingest.until_processed(6)
            assert (ingest.outcome("stored"), ingest.outcome("dead_lettered")) == (5, 1)
            assert ingest.value("dead_lettered_events_total", error_class="undecodable") == 1
            assert gaps_counted(ingest) == 0
    assert await stored_ids(database) == ids(published[:3], published[4:])
    [dead_letter] = await database.dead_letters.find({}).to_list(None)
    assert (dead_letter["reason"], dead_letter["offset"], dead_letter["key"]) == ("undecodable", 3, None)
    assert encode(published[3]) in dead_letter["value"]
    refused = await redrive(database, [dead_letter["_id"]], _never)
    assert refused.skipped == {dead_letter["_id"]: Skipped.BROKEN}


async def _never(topic: str, records: Sequence[OutgoingRecord]) -> None:
    raise AssertionError(f"nothing is to be sent to {topic}: {len(records)}")


@pytest.mark.slow
async def test_more_headers_than_memory_would_hold_are_kept_as_bytes_and_go_as_they_came(
    database: Database, kafka: str
) -> None:
    """600,000 of them, some kB on the wire: their event is stored; of a bad record they are in the dead letter."""
    topic = await make_topic(kafka, 1, max_message_bytes=6_000_000)
    many = tuple((f"h{n}", b"") for n in range(600_000))
    good = replace(records(events(1))[0], headers=many)
    async with AIOKafkaProducer(
        bootstrap_servers=kafka, compression_type="gzip", max_request_size=20_000_000
    ) as producer:
        for each in (good, Sent(b"no json", b"k", headers=many)):
            await producer.send_and_wait(topic, each.value, key=each.key, headers=list(many))
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(2)
        assert (ingest.outcome("stored"), ingest.outcome("dead_lettered")) == (1, 1)
    [name] = await find_names(database, Selection())
    found = await read_kept(database, name)
    assert found is not None
    assert found[1] == Kept(b"k", list(many), b"no json")


@pytest.mark.slow
async def test_a_broken_batch_at_the_end_of_the_log_is_passed_and_a_restart_does_not_meet_it_again(
    database: Database, kafka: str, topic: str
) -> None:
    lost, later = events(4), events(2)
    await send_batches(kafka, topic, 3, [records(lost)])
    async with proxied(kafka) as proxy:
        proxy.break_batch(3, 0, damage.wrong_checksum)
        async with running(database, through(proxy, topic)) as first:
            await until(lambda: gaps_counted(first) == 1, "a gap")
        await send_batches(kafka, topic, 3, [records(later)])
        async with running(database, through(proxy, topic)) as second:
            await second.until_processed(2)
            assert gaps_counted(second) == 0
    assert await stored_ids(database) == ids(later)
    assert await gap_ranges(database) == [(3, 0, 3)]


async def test_bytes_damaged_on_their_way_are_fetched_again_and_make_no_gap(
    database: Database, kafka: str, topic: str
) -> None:
    published = events(12)
    await send_batches(kafka, topic, 0, [records(published[:6]), records(published[6:])])
    async with proxied(kafka) as proxy:
        proxy.break_batch(0, 6, damage.wrong_checksum, times=2)
        async with running(database, through(proxy, topic)) as ingest:
            await ingest.until_processed(12)
            assert gaps_counted(ingest) == 0
    assert await stored_ids(database) == ids(published)
    assert await gap_ranges(database) == []


async def test_a_broker_that_refuses_or_hangs_up_makes_no_gap(
    database: Database, kafka: str, topic: str
) -> None:
    published = events(20)
    await send(kafka, topic, records(published))
    refused = 0

    def refuse(_topic: str, _partition: int, code: int, batches: bytes) -> tuple[int, bytes]:
        nonlocal refused
        refused += 1
        if refused == 5:
            proxy.cut_connections()
        return (NOT_LEADER, b"") if refused <= 8 else (code, batches)

    async with proxied(kafka) as proxy:
        proxy.change = refuse
        async with running(database, through(proxy, topic)) as ingest:
            await ingest.until_processed(20)
            assert gaps_counted(ingest) == 0
    assert refused > 8
    assert await stored_ids(database) == ids(published)
    assert await gap_ranges(database) == []
