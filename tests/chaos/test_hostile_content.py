"""Fields that want to be run, to break out of a log line, or to flood the metrics: kept or refused, as data."""

import json
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.running_worker import PARTITIONS, RunningWorker, settings, working
from tests.conftest import RunningMongo
from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import Sent, event, records, send
from tests.support.waiting import until
from worker.storage.database import Database
from worker.verify.run import verify

CANARY = "c4n4ry"
MOST_SERIES = 600
FLOOD = 1_000

# Strings that mean something to a database, a shell, a template, a terminal, a log or a browser.
STRINGS = (
    '{"$where": "sleep(60000)"}',
    '{"$gt": ""}',
    "$where",
    "$user_id",
    "$$ROOT",
    "a.b.$[].c",
    "'; return true; var x='",
    "${jndi:ldap://127.0.0.1/x}",
    "{{7*7}}",
    "%s%n%x",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    'x"} 1\nsevenp_worker_forged{a="b',
    '\n{"event": "forged", "level": "info"}',
    "\r\nforged: header",
    "\x1b[2J\x1b]0;owned\x07",
    "\x00\x01\x7f\x9b",
    "\u2028\u2029\u202e\ufeff",
)
TEXT_FIELDS = ("session_id", "producer", "correlation_id", "device_type", "user_agent")
# Keys that MongoDB may hold although somebody might trip over them.
KEYS = ("__proto__", "constructor", "toString", "", " ", "_id", "a$b", "length", "0")
OPERATORS: tuple[Mapping[str, Any], ...] = (
    {"$where": "sleep(60000)"},
    {"$gt": ""},
    {"$ne": None},
    {"$expr": {"$function": {"body": "while(1){}", "args": [], "lang": "js"}}},
)


def kept() -> Iterator[dict[str, Any]]:
    """Events that keep the contract, whatever stands in them."""
    for number, (field, text) in enumerate(product(TEXT_FIELDS, STRINGS)):
        yield event(number % 30, **{field: f"{CANARY} {text}"})
    for number, text in enumerate(STRINGS):
        yield event(number, details={"note": f"{CANARY} {text}", "list": [text, {"deep": text}]})
    yield event(1, details=dict.fromkeys(KEYS, CANARY))
    note = {"event_type": "lesson_note_saved", "details": {"text": f"{CANARY} {STRINGS[0]}"}}
    yield {name: value for name, value in event(2, **note).items() if name != "value"}
    # Each of these would be a series of its own, if it were a label.
    for number in range(FLOOD):
        flood = f"{CANARY}-flood-{number}"
        yield event(number % 30, **dict.fromkeys(TEXT_FIELDS, flood), details={flood: flood})


def refused() -> Iterator[bytes]:
    """Records that break the contract where an operator stands for a value, or a key would be one."""
    for operator in OPERATORS:
        for field in ("event_id", "event_type", "user_id", "course_id", "lesson_id", "session_id", "value"):
            yield json.dumps({**event(1, producer=CANARY), field: operator}).encode()
        yield json.dumps(event(1, producer=CANARY, details={"deep": [operator]})).encode()
    for key in ("$where", "a.b", "a\x00", CANARY + ".$"):
        yield json.dumps(event(1, producer=CANARY, details={key: 1})).encode()
    for text in STRINGS:
        yield json.dumps(event(1, event_type=f"{CANARY}{text}")).encode()
        yield json.dumps({**event(1), f"{CANARY}{text}": 1}).encode()


@pytest.mark.slow
async def test_hostile_content_is_data_and_neither_runs_nor_floods_nor_breaks_out(
    database: Database, mongodb: RunningMongo, kafka: str, topic: str, tmp_path: Path
) -> None:
    plain, healthy, poison = [event(number) for number in range(30)], list(kept()), list(refused())
    log = tmp_path / "worker.log"
    chosen = {**settings(mongodb.uri, database, kafka, topic), "SEVENP_LOG_LEVEL": "debug"}
    async with working(chosen, log) as worker:
        await send(kafka, topic, [*records(plain), Sent(poison[0])])
        await worker.until_quiescent(database, kafka, len(plain) + 1)
        await until_all_is_shown(worker)
        before = {(name, labels) for name, labels, _ in await worker.samples()}
        hostile_key = f"{CANARY}\n$where".encode()
        headers = ((f"{CANARY}\x1b[2J", b"\n" + hostile_key),)
        # Poison thinly spread: the breaker is tested elsewhere.
        rest = poison[1:]
        places = [int(number * len(healthy) / len(rest)) for number in range(len(rest))]
        mixed = records(healthy)
        for place, value in sorted(zip(places, rest, strict=True), reverse=True):
            mixed.insert(place, Sent(value, hostile_key, place % 4, headers))
        await send(kafka, topic, mixed)
        await worker.until_quiescent(database, kafka, len(plain) + len(healthy) + len(poison))
        series = await worker.samples()
        status = await worker.get("readyz")
    assert outcomes(series) == {"stored": len(plain) + len(healthy), "dead_lettered": len(poison)}
    assert {(name, labels) for name, labels, _ in series} - before == set(), "not one series more"
    assert len(series) <= MOST_SERIES, len(series)
    assert not [labels for _, labels, _ in series if CANARY in labels or "forged" in labels]
    assert status[0] == 200
    await assert_kept(database, [*plain, *healthy], poison)
    assert_lines_are_whole(log)


async def until_all_is_shown(worker: RunningWorker) -> None:
    """What is known only after a while: the lag, the depths of the whole platform, both change streams."""
    late = {
        ("depths_updated_timestamp_seconds", ""),
        ("kafka_consumer_lag_seconds", f'partition="{PARTITIONS - 1}",topic="{worker.topic}"'),
        *(("change_stream_lag_seconds", f'watcher="{watcher}"') for watcher in ("progress", "counts")),
        *(("change_stream_oplog_headroom_seconds", f'watcher="{each}"') for each in ("progress", "counts")),
    }

    async def shown() -> bool:
        samples = await worker.samples()
        return late <= {(name, ",".join(sorted(labels.split(",")))) for name, labels, _ in samples}

    await until(shown, "all is shown")


def outcomes(series: list[tuple[str, str, float]]) -> dict[str, int]:
    found = [
        (labels.partition('outcome="')[2].partition('"')[0], int(value))
        for name, labels, value in series
        if name == "events_processed_total"
    ]
    return {outcome: count for outcome, count in found if count}


async def assert_kept(database: Database, healthy: list[dict[str, Any]], poison: list[bytes]) -> None:
    """Every value as it was sent, every refused record with its exact bytes, and documents that add up."""
    await assert_exactly_once(database, healthy)
    stored = {str(one["_id"]): one for one in await database.course_events.find({}).to_list(None)}
    for fields in healthy:
        document = stored[fields["event_id"]]
        assert document["event_data"].get("session_id") == fields["session_id"]
        assert document["event_data"].get("device_type") == fields.get("device_type")
        assert document["personal"].get("user_agent") == fields.get("user_agent")
        if fields["event_type"] == "view":
            assert document["event_data"]["details"] == fields["details"]
    dead_letters = await database.dead_letters.find({"kind": "record"}).to_list(None)
    assert sorted(dead_letter["value"] for dead_letter in dead_letters) == sorted(poison)
    assert (await verify(database, quiescent=True)).finding_counts == {}


def assert_lines_are_whole(log: Path) -> None:
    """Each line is one JSON object without a control character, and none quotes what came in."""
    content = log.read_text(encoding="ascii")
    assert not {character for character in content if ord(character) < 32 and character != "\n"}
    for line in content.splitlines():
        assert isinstance(json.loads(line), dict)
        assert "forged" not in line
    assert CANARY not in content
