"""What an operator may set, and how a mistake is told."""

import warnings
from pathlib import Path

import pytest

from worker.contract.routes import USUAL_TOPICS
from worker.errors import Misconfigured
from worker.settings import RoleName, StartPolicy, load_settings, setting_lines


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os  # noqa: PLC0415 - only this fixture looks at the whole environment

    for name in [name for name in os.environ if name.startswith("SEVENP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SEVENP_SECRETS_DIR", str(tmp_path / "absent"))


def test_defaults_suit_a_worker_beside_its_servers() -> None:
    settings = load_settings()
    assert settings.kafka.bootstrap_servers == "127.0.0.1:9092"
    assert settings.ingest.topic == "interaction-events"
    assert settings.process.roles == tuple(RoleName)
    assert settings.ingest.max_records == 5_000


def test_variables_win_over_defaults_and_arguments_over_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEVENP_TOPIC", "a")
    monkeypatch.setenv("SEVENP_START_POLICY", "latest")
    assert load_settings().ingest.topic == "a"
    assert load_settings(topic="b", start_policy=None).ingest.topic == "b"
    assert load_settings().ingest.start_policy is StartPolicy.LATEST


def test_an_inlet_is_on_where_it_has_a_topic_and_two_never_share_one() -> None:
    assert tuple(load_settings().ingest.topics) == tuple(USUAL_TOPICS)
    assert tuple(load_settings(content_topic="c").ingest.topics)[:2] == ("interaction-events", "c")
    assert load_settings(content_topic="none").ingest.topics.content == ""
    with pytest.raises(Misconfigured, match="SEVENP_TOPIC and SEVENP_BILLING_TOPIC name one topic, same"):
        load_settings(topic="same", billing_topic="same")


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEVENP_ROLES", "progress, progress")
    monkeypatch.setenv("SEVENP_EXTERNAL_COLLECTIONS", "courses,users")
    settings = load_settings()
    assert settings.process.roles == (RoleName.PROGRESS,)
    assert settings.mongodb.external_collections == {"courses", "users"}


def test_what_the_worker_owns_is_no_other_service_s() -> None:
    assert "courses" not in load_settings().ownership.catalogue.names
    assert "courses" in load_settings(courses_owner="Worker").ownership.catalogue.names
    with pytest.raises(
        Misconfigured, match="SEVENP_COURSES_OWNER is worker, and SEVENP_EXTERNAL_COLLECTIONS"
    ):
        load_settings(courses_owner="worker", external_collections="courses")
    with pytest.raises(Misconfigured, match="SEVENP_USERS_OWNER"):
        load_settings(users_owner="nobody")


def test_a_secret_is_read_from_its_file_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sevenp_mongodb_uri").write_text("mongodb://user:hunter2@db/?tls=true\n")
    (tmp_path / "somebody_elses").write_text("x")
    monkeypatch.setenv("SEVENP_SECRETS_DIR", str(tmp_path))
    settings = load_settings()
    assert settings.mongodb.uri.get_secret_value() == "mongodb://user:hunter2@db/?tls=true"
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_a_variable_wins_over_a_secret_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sevenp_topic").write_text("from-file")
    monkeypatch.setenv("SEVENP_SECRETS_DIR", str(tmp_path))
    assert load_settings().ingest.topic == "from-file"
    monkeypatch.setenv("SEVENP_TOPIC", "from-variable")
    assert load_settings().ingest.topic == "from-variable"


def test_an_absent_secrets_folder_is_no_news() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_settings()


def test_a_wrong_secret_is_named_but_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEVENP_MONGODB_URI", "http://user:hunter2@db/")
    with pytest.raises(Misconfigured, match="SEVENP_MONGODB_URI: must begin with mongodb://") as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("SEVENP_MONGO_URI", "SEVENP_MONGODB_URI"),
        ("SEVENP_TOPICS", "SEVENP_TOPIC"),
        ("SEVENP_HTTP_PROT", "SEVENP_HTTP_PORT"),
        ("sevenp_log_levle", "SEVENP_LOG_LEVEL"),
    ],
)
def test_a_misspelt_setting_is_refused_with_the_one_meant(
    monkeypatch: pytest.MonkeyPatch, misspelt: str, meant: str
) -> None:
    monkeypatch.setenv(misspelt, "x")
    with pytest.raises(Misconfigured, match=f"{misspelt.upper()} is not a setting: did you mean {meant}"):
        load_settings()


def test_a_misspelt_secret_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sevenp_mongodb_url").write_text("x")
    monkeypatch.setenv("SEVENP_SECRETS_DIR", str(tmp_path))
    with pytest.raises(Misconfigured, match="SEVENP_MONGODB_URI"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SEVENP_WORKER_SERVICE_HOST", "10.0.0.1"),
        ("SEVENP_WORKER_SERVICE_PORT_HTTP", "9464"),
        ("SEVENP_WORKER_PORT", "tcp://10.0.0.1:9464"),
        ("SEVENP_WORKER_PORT_9464_TCP_ADDR", "10.0.0.1"),
    ],
)
def test_what_kubernetes_adds_for_a_service_of_our_name_is_ignored(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SEVENP_HTTP_PORT", "70000"),
        ("SEVENP_HTTP_PORT", "http"),
        ("SEVENP_ROLES", "ingest,cook"),
        ("SEVENP_ROLES", ","),
        ("SEVENP_TOPIC", "no spaces"),
        ("SEVENP_DATABASE_PREFIX", "a.b"),
        ("SEVENP_INGEST_MAX_BYTES", "16000000"),
        ("SEVENP_LOG_LEVEL", "loud"),
        ("SEVENP_START_POLICY", "none"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=f"^{name}: "):
        load_settings()


def test_all_mistakes_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEVENP_HTTP_PORT", "x")
    monkeypatch.setenv("SEVENP_ROLES", "cook")
    with pytest.raises(Misconfigured, match=r"SEVENP_ROLES.*SEVENP_HTTP_PORT"):
        load_settings()


def test_contradictions_of_several_groups_are_told_at_once() -> None:
    with pytest.raises(Misconfigured, match=r"HTTP_PORT.*MONGODB_PASSWORD needs.*KAFKA_CERT_FILE needs"):
        load_settings(
            mongodb_password="x",  # noqa: S106 - no password of anything
            kafka_security_protocol="SSL",
            kafka_cert_file="c",
            http_port=-1,
        )


def test_an_override_that_is_no_setting_is_refused() -> None:
    with pytest.raises(Misconfigured, match="SEVENP_TOPICS is not a setting: did you mean SEVENP_TOPIC"):
        load_settings(topics="a")


def test_numbers_of_the_code_are_no_settings() -> None:
    with pytest.raises(Misconfigured, match="SEVENP_KAFKA_HEARTBEATS_PER_SESSION is not a setting"):
        load_settings(kafka_heartbeats_per_session=3)


def test_a_drain_that_outlasts_the_rebalance_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEVENP_DRAIN_DEADLINE_S", "60")
    with pytest.raises(Misconfigured, match=r"REBALANCE_TIMEOUT_MS \(60000 ms\) must be above .*\(60 s\)"):
        load_settings()


def test_a_drain_that_leaves_no_time_for_a_heartbeat_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEVENP_DRAIN_DEADLINE_S", "59.5")
    with pytest.raises(
        Misconfigured, match=r"\(60000 ms\) must be above .*\(59\.5 s\) and a heartbeat \(0\.5 s"
    ):
        load_settings()
    monkeypatch.setenv("SEVENP_DRAIN_DEADLINE_S", "59")
    load_settings()


def test_a_session_of_less_than_a_second_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEVENP_SESSION_TIMEOUT_MS", "999")
    with pytest.raises(
        Misconfigured, match=r"SEVENP_SESSION_TIMEOUT_MS \(999 ms\) must not be below 1000 ms"
    ):
        load_settings()


def test_a_session_longer_than_the_rebalance_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEVENP_SESSION_TIMEOUT_MS", "90000")
    with pytest.raises(Misconfigured, match="SEVENP_SESSION_TIMEOUT_MS"):
        load_settings()


def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEVENP_ROLES", "")
    monkeypatch.setenv("SEVENP_KAFKA_CA_FILE", "")
    settings = load_settings()
    assert settings.process.roles == tuple(RoleName)
    assert settings.kafka.ca_file is None


def test_a_login_without_a_password_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEVENP_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    with pytest.raises(Misconfigured, match="SEVENP_KAFKA_SASL_PASSWORD"):
        load_settings()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().ingest.topic = "other"  # type: ignore[misc]


def test_every_setting_has_a_line_that_explains_it() -> None:
    lines = setting_lines()
    assert len(lines) == len({line.variable for line in lines}) > 60
    for line in lines:
        assert line.variable.startswith("SEVENP_")
        assert line.description.endswith(".")
