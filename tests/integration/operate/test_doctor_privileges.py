"""What the user may not do is named before a role meets it, and what is named as needed is all that is needed."""

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from tests.conftest import RunningMongo
from tests.support.doctor import Doctor, subjects, told
from tests.support.ingest import event, records, send
from tests.support.waiting import wait_until
from tests.support.worker_process import StartWorker
from worker.app.exits import ExitCode
from worker.devstack.servers.mongod import Mongod, start_mongod
from worker.operate.capacity.measure import measure
from worker.operate.doctor.failpoints import FAILPOINTS
from worker.operate.doctor.finding import Finding
from worker.operate.doctor.needed_privileges import to_run
from worker.operate.doctor.privileges_missing import PRIVILEGES_MISSING
from worker.operate.doctor.privileges_worth_having import PRIVILEGES_WORTH_HAVING
from worker.operate.doctor.schema_privileges import SCHEMA_PRIVILEGES
from worker.operate.doctor.transaction_lifetime import TRANSACTION_LIFETIME
from worker.operate.doctor.unused_index import UNUSED_INDEX
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close
from worker.storage.schema import apply_schema
from worker.timing import SystemClock

PASSWORD = "of-this-test"  # noqa: S105 - of this test
ADMIN: Mapping[str, Any] = {"username": "admin", "password": PASSWORD}
DATABASES = ("content", "analytics", "config")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    """A replica set that knows its users."""

    async def start(folder: Path) -> Mongod:
        key = folder / "members.key"
        key.touch(mode=0o600)
        key.write_text("MembersOfTheSet")
        mongod = await start_mongod(folder, arguments=("--auth", "--keyFile", str(key)))
        direct = f"mongodb://127.0.0.1:{mongod.port}/?directConnection=true"
        async with AsyncMongoClient[dict[str, Any]](direct) as client:  # the first user may be made from here
            await client.admin.command({"createUser": "admin", "pwd": PASSWORD, "roles": ["root"]})
        return mongod

    started = asyncio.run(start(tmp_path_factory.mktemp("guarded")))
    yield started
    started.stop()


@pytest.fixture
async def stored(guarded: Mongod) -> AsyncIterator[Database]:
    """Databases of their own on it, with the schema, seen as the administrator sees them."""
    client = make_client(guarded.uri, security=ADMIN)
    try:
        database = open_database(client, f"test_{uuid.uuid4().hex[:12]}")
        await apply_schema(database)
        yield database
    finally:
        await close(client)


@asynccontextmanager
async def as_user(
    doctor: Doctor, guarded: Mongod, stored: Database, roles: Sequence[Any]
) -> AsyncIterator[Doctor]:
    """The doctor, logged in with these roles and no others."""
    await stored.client.admin.command({"createUser": "worker", "pwd": PASSWORD, "roles": list(roles)})
    client = make_client(guarded.uri, security={"username": "worker", "password": PASSWORD})
    try:
        yield replace(doctor, database=open_database(client, stored.prefix))
    finally:
        await close(client)
        await stored.client.admin.command({"dropUser": "worker"})


def granted(stored: Database, *roles: str, on: Sequence[str] = DATABASES) -> list[dict[str, str]]:
    return [{"role": role, "db": f"{stored.prefix}_{name}"} for role in roles for name in on]


async def sound(doctor: Doctor, guarded: Mongod, stored: Database, finding: Finding) -> None:
    """The roles of docs/operations.md are enough, and so is a server that asks nobody."""
    assert await doctor.sees(finding) == []
    roles = [*granted(stored, "readWrite", "dbAdmin"), {"role": "read", "db": "local"}]
    async with as_user(doctor, guarded, stored, roles) as user:
        assert await user.sees(finding) == []


@pytest.mark.slow
async def test_privileges_missing(doctor: Doctor, guarded: Mongod, stored: Database) -> None:
    await sound(doctor, guarded, stored, PRIVILEGES_MISSING)
    roles = granted(stored, "readWrite", on=("content", "config"))
    async with as_user(doctor, guarded, stored, roles) as user:
        found = await user.sees(PRIVILEGES_MISSING)
    assert set(subjects(found)) == {f"{stored.prefix}_analytics"}
    assert "insert is not allowed on any of its collections" in told(found)
    assert "readWrite" in found[0].fix


@pytest.mark.slow
async def test_schema_privileges(doctor: Doctor, guarded: Mongod, stored: Database) -> None:
    await sound(doctor, guarded, stored, SCHEMA_PRIVILEGES)
    async with as_user(doctor, guarded, stored, granted(stored, "readWrite")) as user:
        found = await user.sees(SCHEMA_PRIVILEGES)
        assert await user.sees(PRIVILEGES_MISSING) == []
    assert len(found) == len(DATABASES)
    assert "collMod is not allowed on any of its collections" in told(found)
    assert "dbAdmin" in found[0].fix


async def test_privileges_worth_having(doctor: Doctor, guarded: Mongod, stored: Database) -> None:
    await sound(doctor, guarded, stored, PRIVILEGES_WORTH_HAVING)
    async with as_user(doctor, guarded, stored, granted(stored, "readWrite")) as user:
        said = told(await user.sees(PRIVILEGES_WORTH_HAVING))
    assert "local: find is not allowed on oplog.rs" in said
    written = ", ".join(sorted(each.collection for each in stored.catalogue.targets))
    assert f"bypassDocumentValidation is not allowed on {written}" in said
    assert "find is not allowed on system.profile" in said


@pytest.mark.slow
def test_what_is_called_needed_is_enough_for_every_role(
    guarded: Mongod,
    mongodb: RunningMongo,
    settings: dict[str, str],
    start_worker: StartWorker,
    kafka: str,
    topic: str,
) -> None:
    """A role of just these privileges, collection by collection: events are stored, folded and counted."""
    prefix = f"test_{uuid.uuid4().hex[:12]}"
    asyncio.run(_prepare(guarded, prefix))
    asyncio.run(send(kafka, topic, records([event(number) for number in range(5)])))
    worker = start_worker(
        mongodb_uri=guarded.uri, mongodb_username="exact", mongodb_password=PASSWORD, database_prefix=prefix
    )
    worker.wait_until_ready()
    wait_until(lambda: _counted(guarded, prefix) == 5 or worker.popen.poll() is not None, "all are counted")
    worker.popen.send_signal(signal.SIGTERM)
    assert worker.exit_code() == ExitCode.OK
    refused = {each["event"] for each in worker.events() if "Unauthorized" in str(each)}
    assert refused <= {"oplog_window_unknown"}  # worth having, and not needed
    asyncio.run(_forget(guarded))


async def _prepare(guarded: Mongod, prefix: str) -> None:
    client = make_client(guarded.uri, security=ADMIN)
    try:
        database = open_database(client, prefix)
        await apply_schema(database)
        privileges = [
            {"resource": {"db": need.home, "collection": need.collection}, "actions": [need.action]}
            for need in to_run(database, frozenset())
        ]
        role = {"createRole": "just-enough", "privileges": privileges, "roles": []}
        await client.admin.command(role)
        user = {"createUser": "exact", "pwd": PASSWORD, "roles": ["just-enough"]}
        await client.admin.command(user)
    finally:
        await close(client)


def _counted(guarded: Mongod, prefix: str) -> int:
    async def count() -> int:
        async with AsyncMongoClient[dict[str, Any]](guarded.uri, **ADMIN) as client:
            return await client[f"{prefix}_content"]["user_progress_projections"].count_documents({})

    return asyncio.run(count())


async def _forget(guarded: Mongod) -> None:
    async with AsyncMongoClient[dict[str, Any]](guarded.uri, **ADMIN) as client:
        await client.admin.command({"dropUser": "exact"})
        await client.admin.command({"dropRole": "just-enough"})


@pytest.mark.slow
async def test_what_this_user_may_not_ask_is_said_and_the_sizes_are_told(
    doctor: Doctor, guarded: Mongod, stored: Database
) -> None:
    """The uses of indexes and the server's parameters are for `clusterMonitor`."""
    async with as_user(doctor, guarded, stored, granted(stored, "readWrite", "dbAdmin")) as user:
        for finding in (UNUSED_INDEX, TRANSACTION_LIFETIME):
            assert "not authorized" in await user.cannot_tell(finding)
        assert await user.sees(FAILPOINTS) == []
        measured = await measure(user.database, SystemClock())
    assert list(measured.index_uses) == []
    assert measured.growth.now_bytes > 0
    assert "not authorized" in str(measured.oplog)
