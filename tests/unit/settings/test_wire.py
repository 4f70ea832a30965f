"""What may be sent where: half a login or half a certificate is refused, and so is plaintext off this machine."""

from pathlib import Path
from urllib.parse import quote_plus

import pytest

from worker.errors import Misconfigured
from worker.settings import load_settings, variable
from worker.settings.hosts import hosts_of, is_loopback, mongo_address

LOGIN = {"kafka_sasl_username": "u", "kafka_sasl_password": "hunter2"}
TLS = {"kafka_security_protocol": "SSL"}
URI = "mongodb://127.0.0.1/?replicaSet=rs0"
A_FILE = quote_plus(__file__)


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os  # noqa: PLC0415 - only this fixture looks at the whole environment

    for name in [name for name in os.environ if name.startswith("SEVENP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SEVENP_SECRETS_DIR", str(tmp_path / "absent"))


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "127.8.9.10", "::1"])
def test_this_machine_is_known_by_its_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["db", "10.0.0.1", "::", "localhost.example.org", "127.example.org", ""])
def test_whatever_else_may_be_another_machine(host: str) -> None:
    assert not is_loopback(host)


def test_hosts_are_read_with_and_without_port() -> None:
    assert hosts_of("a:1, b ,[::1]:9092,[fe80::1],::1,10.0.0.1:9092,") == (
        *("a", "b", "::1", "fe80::1", "::1", "10.0.0.1"),
    )


def test_a_mongodb_uri_is_divided_as_the_driver_does() -> None:
    address = mongo_address("mongodb://me:s%40cret@[::1]:27017,db2/admin?TLS=true;replicaSet=rs0&w=1")
    assert address.hosts == ("::1", "db2")
    assert address.user
    assert address.options == {"tls": True, "replicaset": "rs0", "w": 1}
    assert (address.tls, address.elsewhere, address.srv) == (True, "db2", False)


def test_a_socket_in_the_file_system_is_this_machine() -> None:
    assert mongo_address("mongodb://%2Ftmp%2Fmongodb-27017.sock/").elsewhere is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"kafka_security_protocol": "SASL_SSL"},
            r"SASL_SSL needs \S+KAFKA_SASL_USERNAME and \S+KAFKA_SASL_PASSWORD",
        ),
        (
            {**LOGIN, "kafka_security_protocol": "SASL_SSL", "kafka_sasl_password": ""},
            "needs SEVENP_KAFKA_SASL_PASS",
        ),
        (
            LOGIN,
            r"KAFKA_SASL_USERNAME and \S+_PASSWORD would not be used: \S+ PLAINTEXT does not log in; SASL_SSL",
        ),
        ({**TLS, **LOGIN}, "SSL does not log in; SASL_SSL does"),
        ({"kafka_sasl_mechanism": "SCRAM-SHA-512"}, "SEVENP_KAFKA_SASL_MECHANISM would not be used"),
        (
            {"kafka_ca_file": "ca"},
            r"KAFKA_CA_FILE would not be used: \S+ PLAINTEXT has no TLS; SSL or SASL_SSL has",
        ),
        (
            {**LOGIN, "kafka_security_protocol": "SASL_PLAINTEXT", "kafka_ca_file": "ca"},
            "has no TLS; SASL_SSL has",
        ),
        ({**TLS, "kafka_cert_file": "c"}, "SEVENP_KAFKA_CERT_FILE needs SEVENP_KAFKA_KEY_FILE"),
        ({**TLS, "kafka_key_file": "k"}, "SEVENP_KAFKA_KEY_FILE needs SEVENP_KAFKA_CERT_FILE"),
        ({**TLS, "kafka_key_password": "p"}, "SEVENP_KAFKA_KEY_PASSWORD needs SEVENP_KAFKA_KEY_FILE"),
        ({"mongodb_username": "u"}, "SEVENP_MONGODB_USERNAME needs SEVENP_MONGODB_PASSWORD"),
        ({"mongodb_password": "hunter2"}, "SEVENP_MONGODB_PASSWORD needs SEVENP_MONGODB_USERNAME"),
        ({"mongodb_auth_source": "admin"}, "SEVENP_MONGODB_AUTH_SOURCE needs SEVENP_MONGODB_USERNAME"),
        (
            {
                "mongodb_uri": "mongodb://u:hunter2@localhost",
                "mongodb_username": "u",
                "mongodb_password": "hunter2",
            },
            "SEVENP_MONGODB_URI names a user, and SEVENP_MONGODB_USERNAME does, too",
        ),
        (
            {"mongodb_uri": f"{URI}&tls=false", "mongodb_ca_file": "ca"},
            "CA_FILE turns TLS on, .* turns it off",
        ),
        (
            {"mongodb_uri": f"{URI}&tlsCAFile={A_FILE}", "mongodb_ca_file": "ca"},
            "has tlsCAFile, and .* is set, too",
        ),
    ],
)
def test_half_a_configuration_is_refused_by_its_variables(changes: dict[str, str], said: str) -> None:
    with pytest.raises(Misconfigured, match=said) as refused:
        load_settings(**changes)
    assert "hunter2" not in str(refused.value)


def test_halves_are_seen_in_the_environment_and_in_secret_files_alike(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sevenp_mongodb_password").write_text("hunter2")
    monkeypatch.setenv("SEVENP_SECRETS_DIR", str(tmp_path))
    with pytest.raises(Misconfigured, match="MONGODB_PASSWORD needs SEVENP_MONGODB_USERNAME"):
        load_settings()
    monkeypatch.setenv("SEVENP_MONGODB_USERNAME", "u")
    settings = load_settings()
    assert settings.mongodb.password is not None
    assert settings.mongodb.password.get_secret_value() == "hunter2"
    assert "hunter2" not in f"{settings!r} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"kafka_bootstrap_servers": "127.0.0.1:1,kafka:9092"},
            r"KAFKA_BOOTSTRAP_SERVERS names kafka, .* PLAINTEXT",
        ),
        (
            {
                **LOGIN,
                "kafka_security_protocol": "SASL_PLAINTEXT",
                "kafka_bootstrap_servers": "10.0.0.1:9092",
            },
            "names 10.0.0.1, .* SASL_PLAINTEXT",
        ),
        (
            {"mongodb_uri": "mongodb://localhost,db2/"},
            "SEVENP_MONGODB_URI names db2, .* SEVENP_MONGODB_CA_FILE",
        ),
        ({"mongodb_uri": "mongodb://db/?tls=false"}, "SEVENP_MONGODB_URI names db"),
        (
            {"mongodb_uri": "mongodb+srv://db.example.org/?ssl=false"},
            "SEVENP_MONGODB_URI names db.example.org",
        ),
        ({"mongodb_uri": "mongodb://db/?tls=true&tlsInsecure=true"}, "has tlsinsecure: whoever answers"),
        (
            {"mongodb_uri": "mongodb://db/?tlsAllowInvalidCertificates=true", "mongodb_ca_file": "ca"},
            "has tlsallowinvalidcertificates",
        ),
    ],
)
def test_plaintext_off_this_machine_needs_the_switch(changes: dict[str, str], said: str) -> None:
    with pytest.raises(Misconfigured, match=f"{said}.*{variable('allow_plaintext')}=true"):
        load_settings(**changes)
    assert load_settings(**changes, allow_plaintext="true").process.allow_plaintext


@pytest.mark.parametrize(
    "changes",
    [
        {"kafka_bootstrap_servers": "kafka:9093", **TLS},
        {"kafka_bootstrap_servers": "kafka:9093", **LOGIN, "kafka_security_protocol": "SASL_SSL"},
        {
            **LOGIN,
            "kafka_security_protocol": "SASL_PLAINTEXT",
            "kafka_bootstrap_servers": "[::1]:9092,localhost:1",
        },
        {**TLS, "kafka_cert_file": "c", "kafka_key_file": "c", "kafka_key_password": "p"},
        {"mongodb_uri": "mongodb://db/?tls=true"},
        {"mongodb_uri": f"mongodb://db/?tlsCAFile={A_FILE}"},
        {
            "mongodb_uri": "mongodb://db/",
            "mongodb_ca_file": "ca",
            "mongodb_username": "u",
            "mongodb_password": "p",
        },
        {"mongodb_uri": "mongodb+srv://u:p@db.example.org/"},
    ],
)
def test_what_is_whole_and_protected_is_taken(changes: dict[str, str]) -> None:
    assert not load_settings(**changes).process.allow_plaintext
