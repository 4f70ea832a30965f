"""Commands that change something leave a row in the audit: who, with what, and what came of it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import RunningMongo
from tests.support.commands import sevenp_worker
from worker.app.exits import ExitCode
from worker.contract.rejection import Rejected, RejectReason
from worker.contract.source import Source
from worker.ingest.dead_letters import store_dead_letters
from worker.ingest.record import DeadLetter
from worker.kafka.record import Record
from worker.storage.database import Database, Document


@pytest.fixture
def environment(database: Database, mongodb: RunningMongo) -> dict[str, str]:
    return {
        "SEVENP_MONGODB_URI": mongodb.uri,
        "SEVENP_DATABASE_PREFIX": database.prefix,
        "SEVENP_ALLOW_TEST_COMMANDS": "true",
        "SEVENP_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "SEVENP_START_TIMEOUT_S": "1",
    }


async def filled(database: Database, topic: str = "t") -> None:
    """One item that waits, and one dead letter."""
    now = datetime.now(UTC)
    item = {
        "event_type": "progress_fold",
        "data": {},
        "status": "failed",
        "retry_count": 3,
        "created_at": now,
    }
    await database.analytics_queue.insert_one({"_id": "progress:x", **item, "last_error": "KeyError"})
    record = Record(Source(topic, 0, 1), now, b"k", b"{", ())
    rejected = Rejected(RejectReason.NOT_JSON, "no JSON", None)
    await store_dead_letters(database, [DeadLetter(record, rejected, None)], now)


async def the_rows(database: Database) -> list[Document]:
    return await database.audit.find({}).to_list(None)


COMMANDS: list[tuple[list[str], dict[str, Any], dict[str, Any]]] = [
    (["queue", "retry", "progress:x"], {"ids": ["progress:x"]}, {"retried": 1}),
    (["queue", "discard", "--status", "failed"], {"status": "failed"}, {"discarded": 1}),
    (["dead-letters", "discard", "--reason", "not_json"], {"reason": "not_json"}, {"discarded": 1}),
    (["schema", "apply"], {}, {"changes": []}),
]


@pytest.mark.parametrize(
    ("command", "arguments", "outcome"), COMMANDS, ids=[" ".join(c[0][:2]) for c in COMMANDS]
)
async def test_what_a_command_changes_stands_in_the_audit(
    environment: dict[str, str],
    database: Database,
    command: list[str],
    arguments: dict[str, Any],
    outcome: dict[str, Any],
) -> None:
    await filled(database)
    if command[0] != "schema":
        ended = await sevenp_worker(environment, *command, "--dry-run")
        assert (ended.code, await the_rows(database)) == (ExitCode.OK, []), ended.output
    ended = await sevenp_worker({**environment, "SEVENP_OPERATOR": "anna"}, *command)
    assert ended.code == ExitCode.OK, ended.output
    [row] = await the_rows(database)
    told = {name: row[name] for name in ("command", "arguments", "status", "outcome", "run", "error")}
    assert told == {
        "command": " ".join(command[:2]),
        "arguments": arguments,
        "status": "done",
        "outcome": outcome,
        "run": None,
        "error": None,
    }
    assert row["who"].startswith("anna@")
    assert row["finished_at"] is not None


async def test_a_redrive_says_how_many_were_sent(
    environment: dict[str, str], database: Database, kafka: str, topic: str
) -> None:
    await filled(database, topic)
    ended = await sevenp_worker(
        {**environment, "SEVENP_KAFKA_BOOTSTRAP_SERVERS": kafka},
        "dead-letters",
        "redrive",
        "--reason",
        "not_json",
    )
    assert ended.code == ExitCode.OK, ended.output
    [row] = await the_rows(database)
    assert (row["command"], row["status"]) == ("dead-letters redrive", "done")
    assert row["arguments"] == {"reason": "not_json", "max_redrives": 3}
    assert row["outcome"] == {"redriven": 1, "skipped": {}}


async def test_a_command_that_fails_says_so_in_its_row(
    environment: dict[str, str], database: Database
) -> None:
    """An index is in the way: only an operator can resolve that."""
    await database.analytics_queue.drop_index("idx_analytics_queue_due")
    await database.analytics_queue.create_index([("due_at", 1)], name="idx_analytics_queue_due")
    ended = await sevenp_worker(environment, "schema", "apply")
    assert ended.code == ExitCode.SCHEMA
    [row] = await the_rows(database)
    assert (row["command"], row["status"], row["outcome"]) == ("schema apply", "failed", None)
    assert "idx_analytics_queue_due" in row["error"]


async def test_the_first_schema_apply_makes_the_audit_before_everything_else(
    environment: dict[str, str], database: Database
) -> None:
    empty = {**environment, "SEVENP_DATABASE_PREFIX": f"{database.prefix}_new"}
    try:
        ended = await sevenp_worker(empty, "schema", "apply")
        assert ended.code == ExitCode.OK, ended.output
        [row] = await database.client[f"{database.prefix}_new_config"].audit.find({}).to_list(None)
        assert "audit collection created" in row["outcome"]["changes"]
        assert "leases collection created" in row["outcome"]["changes"]
        assert (await sevenp_worker(empty, "schema", "check")).code == ExitCode.OK
    finally:
        for home in ("content", "analytics", "config"):
            await database.client.drop_database(f"{database.prefix}_new_{home}")
