"""Dead letters sent again on a real broker: exact bytes, one event, no loop."""

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import RunningMongo
from tests.integration.kafka.test_producer import everything
from tests.support.ingest import COURSE, Sent, event, learner, options, records, send
from tests.support.ingest import running as ingesting
from tests.support.kafka import make_topic
from tests.support.retry import EVENT_TYPE, Noting, Run, command_line, running
from tests.support.waiting import until
from worker.app.exits import ExitCode
from worker.app.redriving import open_redriver
from worker.contract.codec import encode
from worker.contract.export import examples
from worker.contract.gaps import GapReason
from worker.contract.rejection import Rejected, RejectReason
from worker.contract.source import Source
from worker.errors import Refused, Retryable
from worker.ingest.dead_letters import PART_BYTES, store_dead_letters, store_gaps
from worker.ingest.record import DeadLetter
from worker.kafka.files import OutgoingRecord
from worker.kafka.positions import Gap
from worker.kafka.record import Partition, Record
from worker.retry.dead_letters import Damaged, discard_dead_letters, find_names, pages, read_value
from worker.retry.redrive import HEADER, Skipped, redrive
from worker.retry.selection import Entry, Selection
from worker.settings import load_settings
from worker.storage.database import Database


@dataclass
class Publishing:
    """Notes what it is given; refuses or fails as told."""

    refuses: Callable[[OutgoingRecord], bool] = lambda _record: False
    fails_after: int = 1_000_000
    calls: list[tuple[str, list[OutgoingRecord]]] = field(default_factory=list)

    async def __call__(self, topic: str, records: Sequence[OutgoingRecord]) -> None:
        if len(self.calls) >= self.fails_after:
            raise Retryable("the broker went away")
        if any(self.refuses(record) for record in records):
            raise Refused("too large")
        self.calls.append((topic, list(records)))

    @property
    def records(self) -> list[OutgoingRecord]:
        return [record for _, records in self.calls for record in records]


@pytest.fixture
def run(database: Database, mongodb: RunningMongo, kafka: str, topic: str) -> Run:
    """`sevenp-worker dead-letters` on this test's servers."""
    return command_line(
        "dead-letters",
        mongodb_uri=mongodb.uri,
        database_prefix=database.prefix,
        kafka_bootstrap_servers=kafka,
        topic=topic,
    )


def dead_letter(
    number: int, value: bytes | None = b"{}", key: bytes | None = b"k", topic: str = "t"
) -> DeadLetter:
    record = Record(
        Source(topic, 0, number), datetime.now(UTC), key, value, (("trace", b"1"), ("none", None))
    )
    return DeadLetter(record, Rejected(RejectReason.NOT_JSON, "no JSON", None))


async def stored(database: Database, name: str) -> dict[str, Any]:
    found = await database.dead_letters.find_one({"_id": name})
    assert found is not None
    return found


async def listed(database: Database, selection: Selection) -> list[Entry]:
    """The selected dead letters as the command lists them."""
    names = await find_names(database, selection)
    return [entry async for page in pages(database, names) for entry in page]


async def open_dead_letters(database: Database) -> list[str]:
    return [entry.id for entry in await listed(database, Selection())]


async def test_a_dead_letter_that_was_refused_for_the_time_is_stored_exactly_once(
    database: Database, kafka: str, topic: str, run: Run
) -> None:
    """Refused as too far in the future when it was published; a later record of the same bytes is not."""
    good, early = event(1), event(2)
    [wrong] = [Sent(r.value, r.key, timestamp_ms=1_000, headers=(("h", b"v"),)) for r in records([early])]
    await send(kafka, topic, [*records([good]), wrong])
    async with ingesting(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(2)
        [dead_letter_before] = await database.dead_letters.find({}).to_list(None)
        assert dead_letter_before["reason"] == "time_out_of_range"
        dry = await run("redrive", "--dry-run", "--json")
        assert json.loads(dry.stdout) == {
            "redriven": [dead_letter_before["_id"]],
            "skipped": {},
            "dry_run": True,
        }
        assert await database.dead_letters.find({}).to_list(None) == [dead_letter_before]

        done = await run("redrive", "--no-idempotent", "--json")
        assert (done.exit_code, json.loads(done.stdout)["redriven"]) == (
            ExitCode.OK,
            [dead_letter_before["_id"]],
        )
        await ingest.until_processed(3)
        again = await run("redrive", dead_letter_before["_id"], "--again", "--no-idempotent")
        assert "1 dead letter redriven" in again.stdout
        await ingest.until_processed(4)
        assert (ingest.outcome("stored"), ingest.outcome("duplicate")) == (2, 1)
    assert await database.course_events.count_documents({"_id": uuid.UUID(early["event_id"])}) == 1
    assert await database.user_interactions.count_documents({"_id": uuid.UUID(early["event_id"])}) == 1
    [kept] = await database.dead_letters.find({}).to_list(None)
    assert kept["redrives"] == 2
    assert kept["redriven_at"] is not None
    published = await everything(kafka, topic, 4)
    [_, first, second] = [record for record in published if record.value == wrong.value]
    assert first.key == second.key == wrong.key
    assert dict(first.headers) == {"h": b"v", HEADER: b"1"}
    assert dict(second.headers) == {"h": b"v", HEADER: b"2"}


async def test_the_guard_stops_the_fourth_round_of_a_record_that_stays_bad(
    database: Database, kafka: str, topic: str, run: Run
) -> None:
    await send(kafka, topic, [Sent(b"\xff no JSON", b"key")])
    async with ingesting(database, options(kafka, topic)) as ingest:
        for rounds in (1, 2, 3):
            await ingest.until_processed(rounds)
            result = json.loads((await run("redrive", "--no-idempotent", "--json")).stdout)
            assert (len(result["redriven"]), result["skipped"]) == (1, {})
        await ingest.until_processed(4)
        [last] = await open_dead_letters(database)
        stopped = json.loads((await run("redrive", "--no-idempotent", "--json")).stdout)
        assert stopped == {"redriven": [], "skipped": {last: "loop"}, "dry_run": False}
    dead_letters = await database.dead_letters.find({}).to_list(None)
    assert {each["value"] for each in dead_letters} == {b"\xff no JSON"}
    assert len(dead_letters) == 4


async def test_dead_letters_made_during_a_redrive_are_not_looked_at(database: Database) -> None:
    await store_dead_letters(database, [dead_letter(number) for number in range(5)], datetime.now(UTC))

    class Making(Publishing):
        async def __call__(self, topic: str, records: Sequence[OutgoingRecord]) -> None:
            await super().__call__(topic, records)
            await store_dead_letters(
                database, [dead_letter(number) for number in range(10, 15)], datetime.now(UTC)
            )

    entries = await find_names(database, Selection())
    result = await redrive(database, entries, Making())
    assert len(result.sent) == 5
    assert len(await open_dead_letters(database)) == 5


async def test_parts_are_put_together(database: Database) -> None:
    value = bytes(range(256)) * (2 * PART_BYTES // 256 + 100)
    await store_dead_letters(database, [dead_letter(1, value), dead_letter(2, b"small")], datetime.now(UTC))
    assert await database.dead_letters.count_documents({"kind": "part"}) == 3
    publishing = Publishing()
    result = await redrive(database, await find_names(database, Selection()), publishing)
    assert len(result.sent) == 2
    assert [record.value for record in publishing.records] == [value, b"small"]


async def test_a_large_dead_letter_travels_through_a_real_broker(database: Database, kafka: str) -> None:
    """5 MB: more than what publishing a file allows, and as much as the embedded broker takes."""
    value = b"x" * 5_000_000
    topic = await make_topic(
        kafka, 4, max_message_bytes=6_000_000
    )  # Apache Kafka takes 1 MB unless told otherwise
    await store_dead_letters(database, [dead_letter(1, value, topic=topic)], datetime.now(UTC))
    settings = load_settings(kafka_bootstrap_servers=kafka)
    async with open_redriver(settings, idempotent=False) as publish:
        result = await redrive(database, await find_names(database, Selection()), publish)
    assert len(result.sent) == 1
    [received] = await everything(kafka, topic, 1)
    assert received.value == value


@pytest.mark.parametrize("harm", ["part gone", "bytes changed"])
async def test_a_damaged_dead_letter_is_not_sent_and_stops_no_other(database: Database, harm: str) -> None:
    value = b"a" * (PART_BYTES + 5)
    await store_dead_letters(database, [dead_letter(1, value), dead_letter(2)], datetime.now(UTC))
    if harm == "part gone":
        await database.dead_letters.delete_one({"part": 2})
    else:
        await database.dead_letters.update_one({"part": 2}, {"$set": {"value": b"b"}})
    entries = await listed(database, Selection())
    assert isinstance(await read_value(database, await stored(database, entries[0].id)), Damaged)
    result = await redrive(database, [entry.id for entry in entries], Publishing())
    assert result.skipped == {entries[0].id: Skipped.DAMAGED}
    assert result.sent == [entries[1].id]


async def test_a_record_the_broker_does_not_take_stops_no_other(database: Database) -> None:
    await store_dead_letters(
        database, [dead_letter(number, b"%d" % number) for number in range(10)], datetime.now(UTC)
    )
    names = await find_names(database, Selection())
    publishing = Publishing(refuses=lambda record: record.value == b"4")
    result = await redrive(database, names, publishing)
    assert result.skipped == {names[4]: Skipped.REFUSED}
    assert sorted(record.value or b"" for record in publishing.records) == [
        b"%d" % n for n in range(10) if n != 4
    ]
    assert await open_dead_letters(database) == [names[4]]


@pytest.mark.slow
async def test_what_was_sent_before_the_broker_went_away_is_marked_and_the_rest_is_not(
    database: Database,
) -> None:
    await store_dead_letters(database, [dead_letter(number) for number in range(450)], datetime.now(UTC))
    with pytest.raises(Retryable):
        await redrive(database, await find_names(database, Selection()), Publishing(fails_after=2))
    assert len(await open_dead_letters(database)) == 50
    rest = Publishing()
    await redrive(database, await find_names(database, Selection()), rest)
    assert len(rest.records) == 50


async def test_gaps_are_listed_and_can_be_discarded_but_not_sent(database: Database) -> None:
    gap = Gap(Partition("t", 0), 10, 19, GapReason.RETENTION, "gone")
    await store_gaps(database, [gap], datetime.now(UTC))
    entries = await find_names(database, Selection())
    result = await redrive(database, entries, Publishing())
    assert list(result.skipped.values()) == [Skipped.NO_BYTES]
    assert await discard_dead_letters(database, entries) == 1


async def test_a_stream_s_dead_letters_are_found_by_key_or_by_what_the_value_says(database: Database) -> None:
    stream = f"course_{COURSE}_user_{learner(7)}"
    value = encode(event(7))
    dead_letters = [
        dead_letter(1, b"broken", f"{COURSE}:{learner(7)}".encode()),
        dead_letter(2, value, None),
        dead_letter(3, value, b"a key of another kind"),
        dead_letter(4, encode(event(8)), None),
        dead_letter(5, b"broken", f"{COURSE}:{learner(8)}".encode()),
        dead_letter(6, None, None),
    ]
    await store_dead_letters(database, dead_letters, datetime.now(UTC))
    found = await listed(database, Selection(stream=stream))
    assert [entry.document["offset"] for entry in found] == [1, 2, 3]
    promotion = examples()["promotion_ended"]
    of_another_kind = dead_letter(
        7, encode({**promotion, "value": "none"}), promotion["promotion_id"].encode()
    )
    await store_dead_letters(database, [of_another_kind], datetime.now(UTC))
    found = await listed(database, Selection(stream=f"promotion_{promotion['promotion_id']}"))
    assert [entry.document["offset"] for entry in found] == [7]


async def test_discarding_takes_the_parts_along_and_nothing_else(database: Database) -> None:
    await store_dead_letters(
        database,
        [dead_letter(1, b"x" * (PART_BYTES + 1)), dead_letter(11), dead_letter(2)],
        datetime.now(UTC),
    )
    entries = await find_names(database, Selection(limit=1))
    assert await discard_dead_letters(database, entries) == 1
    left = await database.dead_letters.find({}).sort("offset", 1).to_list(None)
    assert [each["offset"] for each in left] == [2, 11]


async def test_the_commands_list_group_show_and_discard(database: Database, run: Run) -> None:
    await store_dead_letters(
        database, [dead_letter(number, b"\x1b[2J%d" % number) for number in range(3)], datetime.now(UTC)
    )
    rows = json.loads((await run("list", "--reason", "not_json", "--json")).stdout)
    assert [each["offset"] for each in rows] == [0, 1, 2]
    [group] = json.loads((await run("list", "--group", "--json")).stdout)
    assert (group["count"], group["reason"]) == (3, "not_json")
    assert "\x1b" not in (await run("show", rows[0]["_id"])).stdout
    shown = json.loads((await run("show", rows[0]["_id"], "--json")).stdout)
    assert shown["value"] == "G1sySjA="
    dry = await run("discard", "--fingerprint", group["fingerprint"], "--limit", "2", "--dry-run", "--json")
    assert json.loads(dry.stdout) == {"discarded": 2, "dry_run": True}
    assert len(await open_dead_letters(database)) == 3
    await run("discard", "--fingerprint", group["fingerprint"], "--limit", "2")
    assert len(await open_dead_letters(database)) == 1
    missed = await run("show", "absent")
    assert missed.exit_code == ExitCode.USAGE


async def test_depths_of_dead_letters_and_redrives_are_counted(database: Database) -> None:
    await store_dead_letters(database, [dead_letter(number) for number in range(4)], datetime.now(UTC))
    async with running(database, {EVENT_TYPE: Noting()}) as retry:
        await until(lambda: retry.value("dead_letter_events", step="ingest") == 4, "measured")
        assert retry.value("dead_letter_oldest_age_seconds", step="ingest") > 0
        entries = await find_names(database, Selection(limit=3))
        await redrive(database, entries, Publishing())
        await until(lambda: retry.value("dead_letter_events", step="ingest") == 1, "measured again")
        assert retry.value("dead_letter_redrives_total") == 3
        await retry.until_moved(
            "dead_letter_events", "dead_letter_oldest_age_seconds", "dead_letter_redrives_total"
        )
