"""Two accounts claim one name: what an operator is told of it, and that nothing looks as if it had failed."""

import json

import pytest

from tests.support.commands import sevenp_worker
from tests.support.ingest import Sent, send
from tests.support.scraping import value_at
from tests.support.waiting import until
from tests.support.worker_process import StartWorker
from worker.app.exits import ExitCode
from worker.contract.codec import encode
from worker.contract.export import examples
from worker.devstack.servers.topics import create_topic
from worker.settings import variable
from worker.storage.database import Database

FIRST, SECOND = "5f0000000000000000000001", "5f0000000000000000000002"


def registration(number: int, user: str, at: str) -> bytes:
    example = examples()["user_registered"]
    details = {"email": f"jane{number}@example.com", "username": "jane"}
    identity = f"00000000-0000-4000-8000-{number:012x}"
    return encode({**example, "event_id": identity, "user_id": user, "occurred_at": at, "details": details})


@pytest.mark.slow
async def test_a_contested_name_is_named_in_the_queue_counted_and_nothing_to_be_alarmed_about(
    start_worker: StartWorker, database: Database, settings: dict[str, str], kafka: str, topic: str
) -> None:
    accounts = f"{topic}-accounts"
    await create_topic(kafka, accounts, partitions=2)
    given = {"users_owner": "worker", "account_topic": accounts}
    environment = {**settings, **{variable(name): value for name, value in given.items()}}
    applied = await sevenp_worker(environment, "schema", "apply")
    assert applied.code == ExitCode.OK, applied.output
    worker = start_worker(**given)
    worker.wait_until_ready()
    # The later claim comes first.
    await send(kafka, accounts, [Sent(registration(2, SECOND, "2024-01-02T00:00:00Z"), None, 0)])
    await send(kafka, accounts, [Sent(registration(1, FIRST, "2024-01-01T00:00:00Z"), None, 1)])

    async def named() -> list[dict[str, str]]:
        listed = await sevenp_worker(environment, "queue", "list", "--reason", "Taken", "--json")
        assert listed.code == ExitCode.OK, listed.output
        found: list[dict[str, str]] = json.loads(listed.output)
        return found

    [item] = await until(named, "the one that lost is named")
    assert item["_id"] == f"user_claims:{SECOND}"
    assert FIRST in str(item), "the one that has it"
    assert "jane" not in json.dumps(item), "and no value"
    url, lost = worker.url(), {"projection": "user_claims"}
    await until(lambda: value_at(url, "contest_lost_documents", **lost) == 1, "it is counted")
    failed = {**lost, "mode": "live", "outcome": "failed"}
    assert value_at(url, "projection_events_applied_total", **failed) == 0
    status = await sevenp_worker(environment, "status", "--json")
    depths = json.loads(status.output)["depths"]
    assert depths["lost"] == 1
    assert sum(number for state, number in depths["items"].items() if state != "completed") == 0
    assert (await sevenp_worker(environment, "verify", "--settled")).code == ExitCode.OK
    # The name becomes free.
    gone = {**examples()["user_deleted"], "user_id": FIRST, "occurred_at": "2024-02-01T00:00:00Z"}
    await send(kafka, accounts, [Sent(encode(gone), None, 1)])
    await until(
        lambda: database.users.find_one({"username": "jane", "email": "jane2@example.com"}), "it has it"
    )
    assert await named() == []
