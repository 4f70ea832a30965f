"""Every kind of value a setting can hold, spoilt as people spoil them: refused by name, and no secret is shown."""

import os
import re
from pathlib import Path

import pytest

from worker.errors import Misconfigured
from worker.settings import Channel, RoleName, load_settings, variable

WEBHOOK = {
    "notify_routes": "completion=webhook",
    "notify_webhook_url": "https://example.org/hook",
    "notify_webhook_secret": "a secret of some length",
}
MAIL = {"notify_routes": "welcome=mail", "notify_smtp_host": "mail", "notify_mail_from": "a@example.org"}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of secret files; nothing else is set."""
    for name in [name for name in os.environ if name.startswith("SEVENP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("SEVENP_SECRETS_DIR", str(folder))
    return folder


def refusal(**changes: object) -> str:
    with pytest.raises(Misconfigured) as refused:
        load_settings(**changes)
    said = str(refused.value)
    assert "S3cret" not in said
    assert "Pass" not in said
    for phrase in ("Input should be", "valid integer", "String should", "ensure this value", "pydantic"):
        assert phrase not in said
    return said


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("mongodb://admin:S3cret/Pass@localhost/", "percent-encoded"),
        ("mongodb://admin:S3cret?Pass@localhost/", "percent-encoded"),
        ("mongodb://admin:S3cret:Pass@localhost/", "percent-encoded"),
        ("mongodb://admin:S3cret%ZZPass@localhost/", "percent-encoded"),
        ("mongodb://admin:S3cret@Pass@localhost/", "percent-encoded"),
        ("mongodb://admin:S3cret@localhost:99999/", "a port is a number from 1 to 65535"),
        ("mongodb://admin:S3cret@localhost:port/", "a port is a number from 1 to 65535"),
        ("mongodb://admin:S3cret@[::1:27017/", r"stands in \[ and \]|no host"),
        ("mongodb://", "no host"),
        ("mongodb://data base/?tls=true", "no host"),
        ("mongodb://good.example,-bad-.example/?tls=true", "no host"),
        ("mongodb://localhost/?datetime_conversion=Pass", "the option datetime_conversion cannot be used"),
        ("mongodb://localhost/a$b", "database"),
        ("mongodb://localhost/?maxPoolSiz=50", "the option maxPoolSiz cannot be used"),
        (
            "mongodb://localhost/?tlsCAFile=%2Fabsent",
            "the option tlsCAFile cannot be used: is the file there?",
        ),
        ("mongodb://localhost/?connectTimeoutMS=soon", "the option connectTimeoutMS cannot be used"),
        ("mongodb://localhost/?tls=true&ssl=false", "contradict each other"),
        ("mongodb://localhost/?maxPoolSize=1", "maxPoolSize=1 is too small"),
        ("mongodb+srv://localhost:27017/?tls=false", "names one host, without a port"),
    ],
)
def test_a_mongodb_uri_is_refused_by_what_is_wrong_with_it(uri: str, said: str) -> None:
    refused = refusal(mongodb_uri=uri)
    assert refused.startswith("SEVENP_MONGODB_URI: ")
    assert re.search(said, refused), refused


@pytest.mark.parametrize("size", ["0", "10", "100"])
def test_a_pool_in_which_all_roles_can_move_is_taken(size: str) -> None:
    load_settings(mongodb_uri=f"mongodb://localhost/?replicaSet=rs0&maxPoolSize={size}")


@pytest.mark.parametrize(
    ("brokers", "said"),
    [
        ("localhost", "localhost has no port"),
        ("localhost:99999", "the port of localhost:99999 is not a number"),
        ("localhost:0", "is not a number from 1"),
        ("localhost:9092,", None),
        ("http://localhost:9092", "is not the name or address of a host"),
        ("local host:9092", "is not the name or address of a host"),
        ("[::1]:9092", None),
        (" , ", "at least one broker"),
        ("kafka:+9092", "is not a number"),
    ],
)
def test_brokers_are_hosts_with_ports(brokers: str, said: str | None) -> None:
    if said is None:
        load_settings(kafka_bootstrap_servers=brokers)
    else:
        refused = refusal(kafka_bootstrap_servers=brokers)
        assert refused.startswith("SEVENP_KAFKA_BOOTSTRAP_SERVERS: ")
        assert said in refused


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org:99999/S3cret", "https://example.org:0/S3cret", "https://exa mple.org/S3cret",
        "https://:443/S3cret", "S3cret", "https://[::1/S3cret", "https://example.org:port/S3cret",
    ],
)  # fmt: skip
def test_a_webhooks_address_is_checked_before_anything_is_sent(url: str) -> None:
    assert "SEVENP_NOTIFY_WEBHOOK_URL: is not an http or https URL" in refusal(
        **{**WEBHOOK, "notify_webhook_url": url}
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("notify_smtp_host", "mail:25", "is not the name or address of a host"),
        ("notify_smtp_host", "smtp://mail", "is not the name or address of a host"),
        ("http_host", "0.0.0.0:9464", "is not the name or address of a host"),
        ("notify_smtp_port", "99999", "must be 65535 or less"),
        ("http_port", "9464.5", "must be a whole number"),
        ("notify_mail_from", "a@=?utf-8?q?x=0D=0A?=", "is not one plain mail address"),
        ("notify_mail_from", "Learning <a@example.org>", "is not one plain mail address"),
        ("drain_deadline_s", "nan", "must be"),
        ("drain_deadline_s", "soon", "must be a number"),
        ("allow_plaintext", "perhaps", "must be true or false"),
        ("log_level", "loud", "must be debug, info, warning or error"),
        ("start_policy", "first", "must be earliest or latest"),
        ("roles", "ingest,cook", "must be ingest, progress, counts, notify or retry"),
        ("topic", "no spaces", "must be 1 to 249 letters"),
        ("kafka_group_id", "a\nb", "must be one line without control characters"),
        ("kafka_sasl_password", "a\x00b", "must be one line without control characters"),
    ],
)
def test_any_other_value_is_refused_in_words_an_operator_knows(name: str, value: str, said: str) -> None:
    refused = refusal(**{name: value})
    assert refused.startswith(f"{variable(name)}: "), refused
    assert said in refused


@pytest.mark.parametrize("name", ["mongodb_ca_file", "kafka_ca_file", "kafka_cert_file", "kafka_key_file"])
def test_a_folder_is_not_a_file(name: str, tmp_path: Path) -> None:
    assert f"{variable(name)}: {tmp_path} is a folder, not a file" in refusal(**{name: str(tmp_path)})


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"notify_smtp_username": "u"}, "SEVENP_NOTIFY_SMTP_USERNAME needs SEVENP_NOTIFY_SMTP_PASSWORD"),
        ({"notify_smtp_password": "S3cret"}, "SEVENP_NOTIFY_SMTP_PASSWORD needs SEVENP_NOTIFY_SMTP_USERNAME"),
    ],
)
def test_half_a_login_at_the_mail_server_is_refused(change: dict[str, str], missing: str) -> None:
    assert missing in refusal(**MAIL, **change)


def test_words_of_closed_sets_are_taken_in_any_case() -> None:
    settings = load_settings(
        roles="Ingest, NOTIFY", log_level="DEBUG", start_policy="Latest", notify_routes="Welcome=LOG",
        kafka_security_protocol="ssl", notify_smtp_tls="Required",
    )  # fmt: skip
    assert settings.process.roles == (RoleName.INGEST, RoleName.NOTIFY)
    assert (settings.process.log_level, settings.ingest.start_policy, settings.notify.smtp_tls) == (
        "debug",
        "latest",
        "required",
    )
    assert set(settings.notify.routes.values()) == {Channel.LOG}
    assert settings.kafka.security_protocol == "SSL"


@pytest.mark.parametrize("spoilt", ["{}\n", "{}\r\n", "\ufeff{}", "  {}  "])
def test_what_editors_and_shells_leave_around_a_secret_is_not_part_of_it(
    monkeypatch: pytest.MonkeyPatch, secrets: Path, spoilt: str
) -> None:
    monkeypatch.setenv("SEVENP_MONGODB_USERNAME", "u")
    monkeypatch.setenv("SEVENP_MONGODB_PASSWORD", spoilt.format("S3cret"))
    monkeypatch.setenv("SEVENP_KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    monkeypatch.setenv("SEVENP_KAFKA_SASL_USERNAME", "u")
    (secrets / "sevenp_kafka_sasl_password").write_bytes(spoilt.format("S3cret").encode())
    settings = load_settings()
    for password in (settings.mongodb.password, settings.kafka.sasl_password):
        assert password is not None
        assert password.get_secret_value() == "S3cret"


def test_a_secret_file_that_is_no_utf8_is_named(secrets: Path) -> None:
    (secrets / "sevenp_kafka_sasl_password").write_bytes("Pässwörd".encode("latin-1"))
    assert "SEVENP_KAFKA_SASL_PASSWORD: the secret file" in (said := refusal())
    assert "is not text in UTF-8" in said


@pytest.mark.parametrize("kind", ["folder", "empty"])
def test_a_secret_file_that_holds_nothing_is_refused_and_not_the_default(secrets: Path, kind: str) -> None:
    if kind == "folder":
        (secrets / "sevenp_topic").mkdir()
    else:
        (secrets / "sevenp_topic").touch()
    assert "SEVENP_TOPIC: the secret file" in refusal()


def test_a_secret_file_behind_a_link_counts(secrets: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("from-a-link")
    (secrets / "sevenp_topic").symlink_to(tmp_path / "elsewhere")
    assert load_settings().ingest.topic == "from-a-link"


def test_an_empty_secrets_folder_variable_does_not_read_the_folder_one_stands_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sevenp_topic").write_text("of-somebody-else")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEVENP_SECRETS_DIR", "")
    assert load_settings().ingest.topic == "interaction-events"


def test_a_secrets_folder_that_is_a_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEVENP_SECRETS_DIR", str(tmp_path / "file"))
    assert "SEVENP_SECRETS_DIR: " in refusal()


@pytest.mark.parametrize(
    "name", ["kafka_bootstrap_servers", "notify_smtp_host", "http_host", "notify_mail_from"]
)
@pytest.mark.parametrize("value", ["smtp://user:S3cret@a", "user:S3cret@a:9092", "S3cret:Pass@" + "a" * 100])
def test_a_url_with_a_password_where_none_belongs_is_refused_without_it(name: str, value: str) -> None:
    assert f"SEVENP_{name.upper()}" in refusal(**{name: value})


@pytest.mark.parametrize("name", ["topic", "notify_kafka_topic"])
@pytest.mark.parametrize("value", [".", ".."])
def test_a_name_that_kafka_refuses_is_no_topic(name: str, value: str) -> None:
    assert "a topic cannot have this name" in refusal(**{name: value})


def test_the_zone_of_an_address_is_a_name() -> None:
    assert load_settings(http_host="fe80::1%eth0").process.http_host == "fe80::1%eth0"
    assert "not the name or address of a host" in refusal(http_host="fe80::1%eth0 x")


def test_a_large_limit_is_told_in_digits() -> None:
    assert "must be 3600000 or less" in refusal(session_timeout_ms=10**9)
