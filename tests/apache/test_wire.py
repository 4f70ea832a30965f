"""TLS and logins on Apache Kafka: what is right works everywhere, what is wrong is told with the setting's name."""

import asyncio
import json
import re
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.apache.logins import change_password
from tests.conftest import RunningMongo
from tests.integration.conftest import start_worker
from tests.integration.kafka.test_producer import everything
from tests.support.certificates import Authority, Issued
from tests.support.commands import sevenp_worker
from tests.support.ingest import event, records, send
from tests.support.notify import row, write
from tests.support.waiting import until as until_async
from tests.support.waiting import wait_until
from tests.support.worker_process import StartWorker, fetch
from worker.app.dependencies import kafka_probe
from worker.app.exits import ExitCode
from worker.app.producing import open_publisher
from worker.contract.codec import encode
from worker.devstack.servers.apache.cluster import ApacheKafka, start_apache
from worker.devstack.servers.process import free_port
from worker.devstack.servers.topics import create_topic
from worker.errors import Misconfigured, Retryable
from worker.kafka.security import kafka_options
from worker.settings import Settings, load_settings, variable
from worker.storage.database import Database
from worker.telemetry.logs import describe

__all__ = ["start_worker"]  # a fixture

PASSWORD = "p@ss-of-the-worker"  # noqa: S105 - of this test
KEY_PASSWORD = "of-the-key"  # noqa: S105 - of this test
NOTIFICATIONS = "notifications"

# Every listener of the broker; PLAINTEXT is for the brokers themselves and for the tests' own looks.
PROTOCOLS = {"TLS": "SSL", "MUTUAL": "SSL", "LOGIN": "SASL_SSL", "OPEN": "SASL_PLAINTEXT", "EXPIRED": "SSL"}
CASES: Mapping[str, Mapping[str, str]] = {
    "tls": {"at": "TLS", "kafka_security_protocol": "SSL"},
    "client-certificate": {
        "at": "MUTUAL",
        "kafka_security_protocol": "SSL",
        "kafka_cert_file": "CERT",
        "kafka_key_file": "KEY",
        "kafka_key_password": KEY_PASSWORD,
    },
    **{
        f"{protocol}-{mechanism}".lower(): {
            "at": listener,
            "kafka_security_protocol": protocol,
            "kafka_sasl_mechanism": mechanism,
            "kafka_sasl_username": "worker",
            "kafka_sasl_password": PASSWORD,
        }
        for listener, protocol in (("LOGIN", "SASL_SSL"), ("OPEN", "SASL_PLAINTEXT"))
        for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
    },
}
LOGIN = CASES["sasl_ssl-scram-sha-256"]


@dataclass(frozen=True, slots=True)
class Secured:
    """One broker with every kind of listener."""

    kafka: ApacheKafka
    ports: Mapping[str, int]
    authority: Authority
    client: Issued

    @property
    def inside(self) -> str:
        """The listener without security."""
        return self.kafka.bootstrap_servers

    def settings(self, case: Mapping[str, str]) -> dict[str, str]:
        """A case with the broker's addresses and files, by the settings' names."""
        special = {"CERT": str(self.client.cert), "KEY": str(self.client.key)}
        filled = {name: special.get(value, value) for name, value in case.items()}
        filled["kafka_bootstrap_servers"] = (
            f"{filled.pop('host', '127.0.0.1')}:{self.ports[filled.pop('at')]}"
        )
        if filled["kafka_security_protocol"].endswith("SSL"):
            filled.setdefault("kafka_ca_file", str(self.authority.file))
        return filled


async def _start_secured(folder: Path) -> Secured:
    authority = Authority(folder / "authority")
    right, expired = authority.issue("right"), authority.issue("expired", ends_in=timedelta(hours=-1))
    client = authority.issue("client", "worker.example", key_password=KEY_PASSWORD)
    ports = {name: free_port() for name in PROTOCOLS}
    named = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **PROTOCOLS}
    listeners = [
        "PLAINTEXT://127.0.0.1:{port}",
        *(f"{name}://127.0.0.1:{port}" for name, port in ports.items()),
    ]
    properties = {
        "listeners": ",".join(listeners),
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in named.items()),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(right.both),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.file),
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.expired.ssl.keystore.type": "PEM",
        "listener.name.expired.ssl.keystore.location": str(expired.both),
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
    }
    for listener in ("login", "open"):
        for mechanism, module in (
            ("plain", "plain.PlainLoginModule"),
            ("scram-sha-256", "scram.ScramLoginModule"),
            ("scram-sha-512", "scram.ScramLoginModule"),
        ):
            users = f' user_worker="{PASSWORD}"' if mechanism == "plain" else ""
            properties[f"listener.name.{listener}.{mechanism}.sasl.jaas.config"] = (
                f"org.apache.kafka.common.security.{module} required{users};"
            )
    kafka = await start_apache(folder, properties=properties, scram={"worker": PASSWORD})
    await create_topic(kafka.bootstrap_servers, NOTIFICATIONS, 4)
    return Secured(kafka, ports, authority, client)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    started = asyncio.run(_start_secured(tmp_path_factory.mktemp("secured")))
    try:
        yield started
    finally:
        started.kafka.stop()


@pytest.fixture
async def topic(secured: Secured, request: pytest.FixtureRequest) -> str:
    name = re.sub("[^a-z-]", "-", request.node.name.lower())[:200]
    await create_topic(secured.inside, name, 4)
    return name


@pytest.fixture
def settings(
    secured: Secured, database: Database, mongodb: RunningMongo, topic: str, tmp_path: Path
) -> dict[str, str]:
    """Environment of a worker that logs in over TLS, its password in a secret file; it notifies by Kafka, too."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "sevenp_kafka_sasl_password").write_text(f"{PASSWORD}\n")
    kafka = {name: value for name, value in secured.settings(LOGIN).items() if name != "kafka_sasl_password"}
    named = {
        **kafka,
        "secrets_dir": str(secrets),
        "mongodb_uri": mongodb.uri,
        "database_prefix": database.prefix,
        "allow_test_commands": "true",
        "kafka_group_id": f"group-{topic}",
        "topic": topic,
        "http_port": "0",
        "notify_routes": "welcome=kafka,completion=kafka",
        "notify_kafka_topic": NOTIFICATIONS,
        "start_timeout_s": "120",  # whatever is wrong must be told long before
    }
    return {variable(name): value for name, value in named.items()}


def _loaded(secured: Secured, case: Mapping[str, str], topic: str) -> Settings:
    return load_settings(**secured.settings(case), topic=topic)


async def _probe(settings: Settings) -> None:
    """As `run` does at its start, and readiness all the time."""
    await kafka_probe(
        settings.kafka.bootstrap_servers, [settings.ingest.topic], kafka_options(settings.kafka)
    ).ask()


async def _publish(settings: Settings) -> None:
    """As `publish` and `dead-letters redrive` do."""
    async with open_publisher(settings, settings.ingest.topic, idempotent=True):
        pass


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_every_protocol_and_mechanism_is_spoken(
    secured: Secured, topic: str, case: Mapping[str, str]
) -> None:
    settings = _loaded(secured, case, topic)
    await _probe(settings)
    await _publish(settings)


@pytest.mark.parametrize("password", ["pässwört-Жé", "Ⅷ\u00a0ﬁ ª", "e\u0301 combined", "🔑 and a key"])
async def test_a_scram_password_in_any_letters_is_sent_as_it_is_written(
    secured: Secured, topic: str, password: str
) -> None:
    """Brokers take its UTF-8 without SASLprep: one that SASLprep would change must not be changed by us either."""
    [node] = secured.kafka.nodes
    await change_password(node, secured.inside, "worker", password)
    try:
        settings = _loaded(secured, {**LOGIN, "kafka_sasl_password": password}, topic)
        await _probe(settings)
        await _publish(settings)
    finally:
        await change_password(node, secured.inside, "worker", PASSWORD)


@pytest.mark.parametrize("connect", [_probe, _publish])
@pytest.mark.parametrize(
    ("case", "said"),
    [
        (
            {**LOGIN, "kafka_ca_file": "FOREIGN"},
            r"certificate .* not accepted: unable to get local issuer .*SEVENP_KAFKA_CA_FILE",
        ),
        (
            {**CASES["tls"], "at": "EXPIRED"},
            r"certificate of kafka at \S+ .* has expired; the server needs a new",
        ),
        ({**LOGIN, "host": "localhost"}, r"Hostname mismatch.*'localhost'.*SEVENP_KAFKA_BOOTSTRAP_SERVERS"),
        (
            {**LOGIN, "kafka_sasl_password": "wrong-one"},
            r"not let 'worker' in by SCRAM-SHA-256.*SASL_PASSWORD",
        ),
        (
            {**LOGIN, "kafka_sasl_username": "stranger"},
            r"not let 'stranger' in by SCRAM-SHA-256.*SASL_USERNAME",
        ),
        (
            {**CASES["sasl_ssl-plain"], "kafka_sasl_password": "wrong-one"},
            r"not let 'worker' in by PLAIN.*SEVENP_KAFKA_SASL_PASSWORD",
        ),
        ({**LOGIN, "at": "TLS"}, r"lets nobody log in there.*SEVENP_KAFKA_SECURITY_PROTOCOL"),
    ],
    ids=[
        *("foreign-authority", "expired", "other-name", "wrong-password", "stranger", "wrong-plain-password"),
        "listener-without-login",
    ],
)
async def test_what_is_not_accepted_is_told_with_the_setting_to_look_at(
    secured: Secured,
    topic: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    case: Mapping[str, str],
    said: str,
    connect: Callable[[Settings], Awaitable[None]],
) -> None:
    foreign = str(Authority(tmp_path / "foreign").file)
    changed = {name: foreign if value == "FOREIGN" else value for name, value in case.items()}
    with pytest.raises(Misconfigured, match=said) as refused:
        await connect(_loaded(secured, changed, topic))
    shown = describe(refused.value) + caplog.text
    assert PASSWORD not in shown
    assert "wrong-one" not in shown


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ({**CASES["tls"], "at": "MUTUAL"}, "SEVENP_KAFKA_CERT_FILE"),
        (
            {"at": "TLS", "kafka_security_protocol": "PLAINTEXT"},
            "speak PLAINTEXT.*SEVENP_KAFKA_SECURITY_PROTOCOL",
        ),
    ],
    ids=["no-client-certificate", "plaintext"],
)
async def test_a_broker_that_only_hangs_up_is_asked_again_and_the_settings_are_named(
    secured: Secured, topic: str, case: Mapping[str, str], said: str
) -> None:
    with pytest.raises(Retryable, match=said):
        await _probe(_loaded(secured, case, topic))


async def test_a_wrong_password_ends_the_worker_soon_with_2_whatever_it_needs_kafka_for(
    settings: dict[str, str],
) -> None:
    wrong = {**settings, variable("kafka_sasl_password"): "wrong-one"}
    for roles in ("ingest", "notify"):
        ended = await sevenp_worker({**wrong, variable("roles"): roles}, "run")
        assert ended.code == ExitCode.USAGE, ended.output
        assert re.search(r"error: .*not let 'worker' in.*SEVENP_KAFKA_SASL_PASSWORD", ended.error)
        assert "wrong-one" not in ended.output


async def test_events_dead_letters_and_notifications_travel_by_the_same_security(
    secured: Secured,
    settings: dict[str, str],
    topic: str,
    database: Database,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n".join([encode(event(1)), encode(event(2)), b'{"no": "event"}', b""]))
    published = await sevenp_worker(settings, "publish", str(file))
    assert published.code == ExitCode.OK, published.output
    [key] = await write(database, [row(1)])
    worker = _started(start_worker, settings)
    await asyncio.to_thread(worker.wait_until_ready)
    await until_async(lambda: _rows(database, 2), "the events are stored")
    sent = await everything(secured.inside, NOTIFICATIONS, 1)
    assert [dict(record.headers)["idempotency-key"] for record in sent] == [key.encode()]
    redriven = await sevenp_worker(settings, "dead-letters", "redrive", "--json")
    assert redriven.code == ExitCode.OK, redriven.output
    assert len(json.loads(redriven.output)["redriven"]) == 1
    worker.popen.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(worker.exit_code) == ExitCode.OK
    assert PASSWORD not in worker.log.read_text() + published.output + redriven.output


async def test_a_password_that_becomes_wrong_makes_the_worker_wait_and_nothing_is_lost(
    secured: Secured, settings: dict[str, str], topic: str, database: Database, start_worker: StartWorker
) -> None:
    worker = _started(start_worker, settings)
    url = await asyncio.to_thread(worker.wait_until_ready)
    [node] = secured.kafka.nodes
    await send(secured.inside, topic, records([event(number) for number in range(5)]))
    await change_password(node, secured.inside, "worker", "another")
    await asyncio.to_thread(node.stop)  # every client has to log in anew
    await secured.kafka.restart(node)
    try:
        await send(secured.inside, topic, records([event(number) for number in range(5, 10)]))
        await asyncio.to_thread(
            wait_until,
            lambda: "not let 'worker' in" in fetch(f"{url}/readyz")[1],
            "the worker says what it waits for",
        )
        assert fetch(f"{url}/livez")[0] == 200
    finally:
        await change_password(node, secured.inside, "worker", PASSWORD)
    await asyncio.to_thread(wait_until, lambda: fetch(f"{url}/readyz")[0] == 200, "the worker is ready again")
    await until_async(lambda: _rows(database, 10), "all are stored")
    assert await database.course_events.count_documents({}) == 10
    worker.popen.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(worker.exit_code) == ExitCode.OK
    assert PASSWORD not in worker.log.read_text()


def _started(start_worker: StartWorker, environment: Mapping[str, str]) -> Any:
    return start_worker(
        **{name.removeprefix("SEVENP_").lower(): value for name, value in environment.items()}
    )


async def _rows(database: Database, count: int) -> bool:
    return await database.user_interactions.count_documents({}) == count
