"""TLS and users on a real mongod: what is right works, and what is wrong ends the start with the setting's name."""

import asyncio
import re
import signal
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pymongo import AsyncMongoClient

from projections.progress.projection import PROGRESS
from tests.support.certificates import Authority, Issued
from tests.support.commands import sevenp_worker
from tests.support.ingest import event, records, send
from tests.support.progress import histories
from tests.support.waiting import until as until_async
from tests.support.waiting import wait_until
from tests.support.worker_process import StartWorker
from worker.app.dependencies import mongodb_probe
from worker.app.exits import ExitCode
from worker.app.opening import assert_schema, opened
from worker.devstack.servers.mongod import Mongod, start_mongod
from worker.devstack.servers.process import StartFailed
from worker.errors import Misconfigured
from worker.settings import Settings, load_settings, variable
from worker.storage.past_validators import past_validators
from worker.storage.schema import apply_schema, check_schema
from worker.telemetry.logs import describe
from worker.watch.folds.fold import fold_run
from worker.watch.folds.plan import Run, Task
from worker.watch.folds.writing import write_all

PASSWORD = "p@ss:word/of-the-worker"  # noqa: S105 - of this test; every character a URI would have to escape
DATABASES = ("content", "analytics", "config")


@dataclass
class Secured:
    """A replica set that speaks only TLS and knows its users."""

    mongod: Mongod
    folder: Path
    authority: Authority
    certificate: Issued

    @property
    def admin(self) -> dict[str, Any]:
        return {**self.tls, "username": "admin", "password": "admin"}

    @property
    def tls(self) -> dict[str, Any]:
        return {"tls": True, "tlsCAFile": str(self.authority.file)}

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator["AsyncMongoClient[dict[str, Any]]"]:
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            self.mongod.uri, directConnection=False, uuidRepresentation="standard", **(options or self.admin)
        )
        async with client:
            yield client

    async def set_password(self, password: str) -> None:
        async with self.client() as client:
            await client.admin.command({"updateUser": "worker", "pwd": password})

    async def restart(self) -> None:
        """On the same port: every client has to log in anew."""
        await asyncio.to_thread(self.mongod.stop)
        self.mongod = await _start(
            self.folder, self.authority, self.certificate, self.admin, port=self.mongod.port
        )


async def _start(
    folder: Path,
    authority: Authority,
    certificate: Issued,
    client: Mapping[str, Any],
    port: int | None = None,
) -> Mongod:
    key = folder / "members.key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_text("MembersOfTheSet")
    arguments = (
        *("--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(certificate.both)),
        *("--tlsCAFile", str(authority.file), "--tlsAllowConnectionsWithoutCertificates"),
        *("--auth", "--keyFile", str(key)),
    )
    return await start_mongod(folder, arguments=arguments, client=client, port=port)


async def _start_secured(folder: Path) -> Secured:
    authority = Authority(folder / "authority")
    certificate = authority.issue("server")
    tls = {"tls": True, "tlsCAFile": str(authority.file)}
    mongod = await _start(folder, authority, certificate, tls)
    secured = Secured(mongod, folder, authority, certificate)
    async with secured.client(**tls) as client:  # the first user may be made by whoever is on the machine
        await client.admin.command({"createUser": "admin", "pwd": "admin", "roles": ["root"]})
    return secured


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    started = asyncio.run(_start_secured(tmp_path_factory.mktemp("secured")))
    try:
        yield started
    finally:
        started.mongod.stop()


@pytest.fixture
async def settings(secured: Secured, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """Environment of a worker with a user of its own databases only, its password in a secret file."""
    prefix = f"test_{uuid.uuid4().hex[:12]}"
    roles = [
        {"role": role, "db": f"{prefix}_{name}"} for role in ("readWrite", "dbAdmin") for name in DATABASES
    ]
    async with secured.client() as client:
        await client.admin.command({"createUser": "worker", "pwd": PASSWORD, "roles": roles})
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "sevenp_mongodb_password").write_text(f"{PASSWORD}\n")
    yield {
        variable("mongodb_uri"): secured.mongod.uri,
        variable("mongodb_ca_file"): str(secured.authority.file),
        variable("mongodb_username"): "worker",
        variable("secrets_dir"): str(secrets),
        variable("database_prefix"): prefix,
        variable("http_port"): "0",
        variable("roles"): "progress,counts,retry,notify",
        variable("start_timeout_s"): "120",  # whatever is wrong must be told long before
    }
    async with secured.client() as client:
        await client.admin.command({"dropUser": "worker"})
        for name in DATABASES:
            await client.drop_database(f"{prefix}_{name}")


@pytest.fixture
def ingesting(settings: dict[str, str], kafka: str, topic: str) -> dict[str, str]:
    """The same worker with its Kafka."""
    return {
        **settings,
        variable("kafka_bootstrap_servers"): kafka,
        variable("kafka_group_id"): f"group-{topic}",
        variable("topic"): topic,
        variable("roles"): "ingest,progress,counts,retry,notify",
    }


def _stored(secured: Secured, prefix: str) -> int:
    async def count() -> int:
        async with secured.client() as client:
            return await client[f"{prefix}_content"]["course_events"].count_documents({})

    return asyncio.run(count())


def _started(start_worker: StartWorker, environment: Mapping[str, str]) -> Any:
    return start_worker(
        **{name.removeprefix("SEVENP_").lower(): value for name, value in environment.items()}
    )


@pytest.mark.slow
def test_a_user_of_three_databases_is_enough_to_apply_the_schema_and_run_over_tls(
    secured: Secured, ingesting: dict[str, str], start_worker: StartWorker, kafka: str, topic: str
) -> None:
    applied = asyncio.run(sevenp_worker(ingesting, "schema", "apply"))
    assert applied.code == ExitCode.OK, applied.output
    asyncio.run(send(kafka, topic, records([event(number) for number in range(5)])))
    worker = _started(start_worker, ingesting)
    worker.wait_until_ready()
    wait_until(lambda: _stored(secured, ingesting[variable("database_prefix")]) == 5, "all are stored")
    worker.popen.send_signal(signal.SIGTERM)
    assert worker.exit_code() == ExitCode.OK
    assert PASSWORD not in worker.log.read_text()


async def test_user_and_tls_may_stand_in_the_uri_alone(secured: Secured, settings: dict[str, str]) -> None:
    uri = secured.mongod.uri.replace("mongodb://", f"mongodb://worker:{quote(PASSWORD, safe='')}@")
    whole = f"{uri}&tls=true&tlsCAFile={quote(str(secured.authority.file), safe='')}&authSource=admin"
    named = {"mongodb_ca_file": "", "mongodb_username": "", "secrets_dir": "absent", "mongodb_uri": whole}
    environment = {**settings, **{variable(name): value for name, value in named.items()}}
    applied = await sevenp_worker(environment, "schema", "apply")
    assert applied.code == ExitCode.OK, applied.output


@pytest.mark.parametrize(
    ("roles", "allowed"), [(("readWrite", "dbAdmin"), True), (("readWrite",), False)], ids=["admin", "plain"]
)
async def test_own_documents_go_past_the_validator_where_the_user_may_and_are_written_in_any_case(
    secured: Secured, settings: dict[str, str], roles: tuple[str, ...], allowed: bool
) -> None:
    prefix = settings[variable("database_prefix")]
    given = {name.removeprefix("SEVENP_").lower(): value for name, value in settings.items()}
    loaded = load_settings(**{**given, "mongodb_password": PASSWORD})
    [(stream, events)] = histories(learners=1, events=6).items()
    folded = fold_run(PROGRESS, Run(Task(stream, None, 0, 6), events), "live")
    async with opened(loaded) as database:
        await apply_schema(database)
    granted = [{"role": role, "db": f"{prefix}_{name}"} for role in roles for name in DATABASES]
    async with secured.client() as client:
        await client.admin.command({"updateUser": "worker", "roles": granted})
    async with opened(loaded) as opened_database:
        database = await past_validators(opened_database)
        assert database.unvalidated is allowed
        assert not (await past_validators(opened_database, {"user_progress"})).unvalidated
        written = await write_all(database.user_progress, [folded], unvalidated=database.unvalidated)
        assert written.done == [folded]
        assert await database.user_progress.count_documents({"version": 6}) == 1


async def _probed(settings: Settings) -> None:
    """As `run` does at its start."""
    async with opened(settings) as database:
        await mongodb_probe(database).ask()
        await assert_schema(settings, database)


@pytest.mark.parametrize("password", ["pässwört-Жé", "Ⅷ\u00a0ﬁ ª", "e\u0301/@:?#% combined"])
async def test_a_password_in_any_letters_is_accepted_by_setting_and_in_the_uri(
    secured: Secured, settings: dict[str, str], password: str
) -> None:
    """Server and driver both prepare it by SASLprep; in a URI it is percent-encoded UTF-8."""
    given = {name.removeprefix("SEVENP_").lower(): value for name, value in settings.items()}
    uri = secured.mongod.uri.replace("mongodb://", f"mongodb://worker:{quote(password, safe='')}@")
    in_uri = {"mongodb_username": "", "secrets_dir": "absent", "mongodb_uri": f"{uri}&authSource=admin"}
    await secured.set_password(password)
    try:
        for named in ({"mongodb_password": password}, in_uri):
            async with opened(load_settings(**{**given, **named})) as database:
                await mongodb_probe(database).ask()
                assert await database.leases.find_one({}) is None
    finally:
        await secured.set_password(PASSWORD)


async def _checked(settings: Settings) -> None:
    """As a command does."""
    async with opened(settings) as database:
        await check_schema(database)


@pytest.mark.slow
@pytest.mark.parametrize("connect", [_probed, _checked])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"mongodb_ca_file": "FOREIGN"},
            r"certificate .* not accepted: (self-signed|unable to get) .*SEVENP_MONGODB_CA_FILE",
        ),
        ({"mongodb_uri": "LOCALHOST"}, r"not accepted: Hostname mismatch.*'localhost'.*SEVENP_MONGODB_URI"),
        ({"mongodb_password": "wrong-one"}, r"AuthenticationFailed.*SEVENP_MONGODB_USERNAME.*_PASSWORD"),
        ({"mongodb_username": "stranger"}, r"AuthenticationFailed.*SEVENP_MONGODB_USERNAME.*_PASSWORD"),
        ({"mongodb_auth_source": "elsewhere"}, r"AuthenticationFailed.*SEVENP_MONGODB_AUTH_SOURCE"),
        ({"mongodb_username": "", "mongodb_password": ""}, r"Unauthorized.*SEVENP_MONGODB_USERNAME"),
    ],
    ids=["foreign-authority", "other-name", "wrong-password", "stranger", "other-source", "nobody"],
)
async def test_what_is_not_accepted_is_told_with_the_setting_to_look_at(
    secured: Secured,
    settings: dict[str, str],
    tmp_path: Path,
    changes: dict[str, str],
    said: str,
    connect: Callable[[Settings], Awaitable[None]],
) -> None:
    special = {
        "FOREIGN": str(Authority(tmp_path / "foreign").file),
        "LOCALHOST": secured.mongod.uri.replace("127.0.0.1", "localhost"),
    }
    given = {name.removeprefix("SEVENP_").lower(): value for name, value in settings.items()}
    changed = {name: special.get(value, value) for name, value in changes.items()}
    with pytest.raises(Misconfigured, match=said) as refused:
        await connect(load_settings(**{**given, "mongodb_password": PASSWORD, **changed}))
    shown = describe(refused.value)
    assert PASSWORD not in shown
    assert "wrong-one" not in shown


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mongodb_password": "wrong-one"}, r"AuthenticationFailed.*SEVENP_MONGODB_USERNAME.*_PASSWORD"),
        ({"mongodb_ca_file": "absent"}, r"SEVENP_MONGODB_CA_FILE absent cannot be used: No such file"),
        ({"mongodb_username": ""}, r"SEVENP_MONGODB_PASSWORD needs SEVENP_MONGODB_USERNAME"),
    ],
    ids=["wrong-password", "no-file", "half"],
)
async def test_what_is_wrong_ends_the_start_soon_with_2(
    settings: dict[str, str], changes: dict[str, str], said: str
) -> None:
    began = time.monotonic()
    ended = await sevenp_worker(
        {**settings, **{variable(name): value for name, value in changes.items()}}, "run"
    )
    assert ended.code == ExitCode.USAGE, ended.output
    assert time.monotonic() - began < float(settings[variable("start_timeout_s")])
    assert re.search(said, ended.error), ended.output
    assert PASSWORD not in ended.output
    assert "wrong-one" not in ended.output


@pytest.mark.long
async def test_a_certificate_that_has_expired_ends_the_start_with_2(
    settings: dict[str, str], tmp_path: Path
) -> None:
    """The server does not start with one: it has to expire while mongod runs."""
    authority = Authority(tmp_path / "authority")
    mongod = await _start_until_expiry(tmp_path, authority)
    try:
        environment = {
            **settings,
            variable("mongodb_uri"): mongod.uri,
            variable("mongodb_ca_file"): str(authority.file),
        }
        await until_async(lambda: _expired(authority, mongod.port), "the certificate has expired")
        ended = await sevenp_worker(environment, "run")
    finally:
        mongod.stop()
    assert ended.code == ExitCode.USAGE, ended.output
    assert re.search(r"certificate of mongodb .* not accepted: certificate has expired", ended.error)


async def _start_until_expiry(folder: Path, authority: Authority) -> Mongod:
    """With a life as short as this machine allows: a mongod that is not up by then says that it has expired."""
    tls = {"tls": True, "tlsCAFile": str(authority.file)}
    for seconds in (8, 30, 120):
        certificate = authority.issue("short", ends_in=timedelta(seconds=seconds))
        try:
            return await _start(folder, authority, certificate, tls)
        except StartFailed:
            if seconds == 120:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


async def _expired(authority: Authority, port: int) -> bool:
    trusting = ssl.create_default_context(cafile=str(authority.file))
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
    except ssl.SSLCertVerificationError as error:
        return "expired" in error.verify_message
    writer.close()
    return False


@pytest.mark.long
def test_a_password_that_becomes_wrong_ends_the_worker_with_5_and_nothing_is_lost(
    secured: Secured, ingesting: dict[str, str], start_worker: StartWorker, kafka: str, topic: str
) -> None:
    prefix = ingesting[variable("database_prefix")]
    assert asyncio.run(sevenp_worker(ingesting, "schema", "apply")).code == ExitCode.OK
    # Time to drain on a machine with ten times as much to do: overdue would be another exit code.
    patient = {variable("drain_deadline_s"): "100", variable("rebalance_timeout_ms"): "150000"}
    worker = _started(start_worker, {**ingesting, **patient})
    worker.wait_until_ready()
    asyncio.run(send(kafka, topic, records([event(number) for number in range(5)])))
    wait_until(lambda: _stored(secured, prefix) == 5, "the first are stored")

    asyncio.run(secured.set_password("another"))
    asyncio.run(secured.restart())
    asyncio.run(send(kafka, topic, records([event(number) for number in range(5, 10)])))
    assert worker.exit_code() == ExitCode.ROLE_DIED
    assert re.search(r"AuthenticationFailed.*SEVENP_MONGODB_PASSWORD", worker.error())
    assert asyncio.run(sevenp_worker(ingesting, "run")).code == ExitCode.USAGE

    asyncio.run(secured.set_password(PASSWORD))
    again = _started(start_worker, ingesting)
    again.wait_until_ready()
    wait_until(lambda: _stored(secured, prefix) == 10, "all are stored")
    again.popen.send_signal(signal.SIGTERM)
    assert again.exit_code() == ExitCode.OK
    assert all(PASSWORD not in each.log.read_text() for each in (worker, again))
