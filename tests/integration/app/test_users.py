"""A worker as a process that owns users: account events become documents, and nothing tells of whom they are."""

import asyncio
from typing import Any

import pytest
from bson import ObjectId

from projections.catalogue import catalogue_for
from tests.integration.watch.test_users import SECRETS, differences
from tests.support.ingest import Sent, send
from tests.support.waiting import until
from tests.support.worker_process import StartWorker, fetch
from tests.unit.projections.events import moment
from worker.contract.codec import encode
from worker.devstack.servers.topics import create_topic
from worker.storage.database import Database, open_database
from worker.storage.schema import apply_schema
from worker.verify.run import verify


def told(user: ObjectId, number: int, event_type: str, at: float, **details: Any) -> Sent:
    """One event of a user as a record."""
    value = {
        "event_id": f"{number:08x}-0000-4000-8000-000000000000",
        "event_type": event_type,
        "occurred_at": moment(at).isoformat(),
        "user_id": str(user),
        **({"details": details} if details else {}),
    }
    return Sent(encode(value), str(user).encode(), None)


@pytest.mark.slow
async def test_users_of_events_in_any_order_are_whole_and_nothing_personal_is_told(
    database: Database, kafka: str, topic: str, start_worker: StartWorker
) -> None:
    own = open_database(database.client, database.prefix, catalogue_for({"users"}))
    await apply_schema(own)
    accounts = f"{topic}-accounts"
    await create_topic(kafka, accounts, partitions=2)
    first, second = sorted([ObjectId(), ObjectId()])
    person = {"profile": {"bio": "about myself"}, "contact": {"phone": "+1-555-0123"}}
    sent = [
        told(first, 1, "logged_in", 50),
        told(first, 2, "user_registered", 20, email="Jane1@example.com", username="Jane", **person),
        told(second, 3, "user_registered", 10, email="jane2@example.com", username="jane", **person),
        told(first, 4, "profile_changed", 30, profile={"firstName": "Jane", "password_hash": "$2b$12$jane"}),
        told(first, 5, "contact_changed", 30, contact={"phone": "jane: 555-0123"}),
        told(first, 6, "email_changed", 30, email="jane about myself"),
    ]
    await send(kafka, accounts, sent)
    worker = start_worker(roles="ingest,progress,counts,retry", account_topic=accounts, users_owner="worker")
    url = await asyncio.to_thread(worker.wait_until_ready)

    async def whole() -> bool:
        if await own.users.count_documents({}) < 2 or await own.dead_letters.count_documents({}) < 3:
            return False
        return await differences(own) == []

    await until(whole, "both users are whole")
    found = {each["_id"]: each async for each in own.users.find({})}
    assert (found[second]["username"], found[first].get("username")) == ("jane", None)
    letters = await own.dead_letters.find({}).to_list(None)
    assert sorted(each["reason"] for each in letters) == ["forbidden_field", "invalid_field", "invalid_field"]
    _, metrics = await asyncio.to_thread(fetch, f"{url}/metrics")
    worker.popen.terminate()
    assert await asyncio.to_thread(worker.exit_code) == 0
    assert (await verify(own, quiescent=True)).finding_counts == {}
    of_letters = [{name: each[name] for name in each.keys() - {"value", "key"}} for each in letters]
    of_events = [each["event_data"] async for each in own.course_events.find({})]
    items = await own.analytics_queue.find({}).to_list(None)
    for secret in SECRETS:
        for text in (worker.log.read_text(), metrics, of_letters, of_events, items):
            assert secret not in str(text).lower(), secret
