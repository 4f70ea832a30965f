"""What every setting is, and where it comes from: also where the worker itself would refuse to start."""

import os
from pathlib import Path

import pytest

from worker.release import revision
from worker.settings import load_settings, setting_lines
from worker.settings.effective import EffectiveSetting, effective_settings
from worker.settings.hosts import HIDDEN, without_password

PASSWORD = "hunter2-of-the-store"  # noqa: S105 - of nobody


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in [name for name in os.environ if name.startswith("SEVENP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("SEVENP_SECRETS_DIR", str(folder))
    return folder


def shown() -> dict[str, EffectiveSetting]:
    return {each.variable: each for each in effective_settings().settings}


def test_every_setting_is_there_once_with_the_default_that_help_shows() -> None:
    found = effective_settings()

    assert [each.variable for each in found.settings] == list(
        dict.fromkeys(line.variable for line in setting_lines())
    )
    assert (found.unknown, found.mistake) == ((), None)
    defaults = {line.variable: line.default for line in setting_lines()}
    assert {each.variable: each.value for each in found.settings if each.source == "default"} == {
        name: value for name, value in defaults.items() if name != "SEVENP_SECRETS_DIR"
    }


def test_the_environment_wins_over_a_file_and_each_is_named(
    monkeypatch: pytest.MonkeyPatch, secrets: Path
) -> None:
    (secrets / "sevenp_topic").write_text("from-file\n")
    (secrets / "sevenp_kafka_group_id").write_text("group-of-file")
    monkeypatch.setenv("SEVENP_TOPIC", "from-variable")
    monkeypatch.setenv("SEVENP_OPERATOR", "")
    found = shown()

    assert (found["SEVENP_TOPIC"].value, found["SEVENP_TOPIC"].source) == ("from-variable", "environment")
    group = found["SEVENP_KAFKA_GROUP_ID"]
    assert (group.value, group.source) == ("group-of-file", f"file {secrets / 'sevenp_kafka_group_id'}")
    assert found["SEVENP_OPERATOR"].source == "default"


def test_a_value_is_shown_as_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEVENP_ROLES", " Progress, counts ,progress")
    monkeypatch.setenv("SEVENP_RETRY_BACKOFF_S", "7")
    monkeypatch.setenv("SEVENP_NOTIFY_ROUTES", "completion=LOG")

    assert shown()["SEVENP_ROLES"].value == "progress,counts"
    assert shown()["SEVENP_RETRY_BACKOFF_S"].value == "7.0"
    assert shown()["SEVENP_NOTIFY_ROUTES"].value == "welcome=log,completion=log"


@pytest.mark.parametrize("broken", [False, True])
def test_no_secret_is_ever_shown_whether_the_rest_can_be_read_or_not(
    monkeypatch: pytest.MonkeyPatch, secrets: Path, broken: bool
) -> None:
    monkeypatch.setenv("SEVENP_MONGODB_URI", f"mongodb://u:{PASSWORD}@db/?tls=true")
    (secrets / "sevenp_notify_webhook_secret").write_text(PASSWORD)
    (secrets / "sevenp_kafka_key_password").write_text(PASSWORD)
    if broken:
        monkeypatch.setenv("SEVENP_RETRY_MAX_ATTEMPTS", "many")
    found = effective_settings()

    assert PASSWORD not in repr(found)
    hidden = [each.variable for each in found.settings if each.value == HIDDEN]
    assert hidden == ["SEVENP_KAFKA_KEY_PASSWORD", "SEVENP_NOTIFY_WEBHOOK_SECRET"]
    (uri,) = [each.value for each in found.settings if each.variable == "SEVENP_MONGODB_URI"]
    assert uri == f"mongodb://u:{HIDDEN}@db/?tls=true"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("mongodb://a:27017,b:27018/x?replicaSet=rs0", "mongodb://a:27017,b:27018/x?replicaSet=rs0"),
        ("mongodb+srv://anna@db.example.org/", "mongodb+srv://anna@db.example.org/"),
        (f"mongodb://u:{PASSWORD}@[::1]:27017", f"mongodb://u:{HIDDEN}@[::1]:27017"),
        (f"mongodb://u:{PASSWORD}/1@a/?x=1", f"mongodb://u:{HIDDEN}@a/?x=1"),
        (f"mongodb://u:p@ss{PASSWORD}@a/", f"mongodb://u:{HIDDEN}@a/"),
        (
            f"mongodb://a/?tls=true&tlsCertificateKeyFilePassword={PASSWORD}&w=1",
            f"mongodb://a/?tls=true&tlsCertificateKeyFilePassword={HIDDEN}&w=1",
        ),
        (
            f"mongodb://a/?authMechanismProperties=AWS_SESSION_TOKEN:{PASSWORD}",
            f"mongodb://a/?authMechanismProperties={HIDDEN}",
        ),
        (f"mongodb://u:{PASSWORD}", HIDDEN),
        (f"mongodb://u:{PASSWORD}@a/?x=@", HIDDEN),
        (f"u:{PASSWORD}@a/", HIDDEN),
        (f"mongodb://a/{PASSWORD}/b", HIDDEN),
    ],
)
def test_of_the_uri_everything_is_shown_but_what_may_be_secret(uri: str, shown: str) -> None:
    assert without_password(uri) == shown


def test_every_setting_that_is_a_secret_says_so_and_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = [line.variable for line in setting_lines() if "Secret" in line.description]
    for name in secret:
        monkeypatch.setenv(name, "mongodb://a-long-enough-secret/")
    found = shown()

    assert len(secret) >= 7
    assert {name: found[name].value for name in secret if name != "SEVENP_MONGODB_URI"} == dict.fromkeys(
        (name for name in secret if name != "SEVENP_MONGODB_URI"), HIDDEN
    )


def test_what_is_wrong_is_told_beside_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEVENP_RETRY_MAX_ATTEMPTS", "many")
    monkeypatch.setenv("SEVENP_TOPIC", "events")
    found = effective_settings()

    assert found.mistake is not None
    assert found.mistake.startswith("SEVENP_RETRY_MAX_ATTEMPTS: ")
    values = {each.variable: each.value for each in found.settings}
    assert (values["SEVENP_RETRY_MAX_ATTEMPTS"], values["SEVENP_TOPIC"]) == ("many", "events")


def test_variables_and_files_that_are_no_settings_are_named_without_their_values(
    monkeypatch: pytest.MonkeyPatch, secrets: Path
) -> None:
    monkeypatch.setenv("SEVENP_TOPPIC", PASSWORD)
    (secrets / "sevenp_mongodb_passwort").write_text(PASSWORD)
    monkeypatch.setenv("SEVENP_WEB_SERVICE_HOST", "10.0.0.1")
    found = effective_settings()

    assert found.unknown == (
        "SEVENP_MONGODB_PASSWORT is not a setting: did you mean SEVENP_MONGODB_PASSWORD?",
        "SEVENP_TOPPIC is not a setting: did you mean SEVENP_TOPIC?",
    )
    assert PASSWORD not in repr(found)


def test_a_folder_of_secrets_that_is_none_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch, secrets: Path
) -> None:
    (secrets / "file").write_text("x")
    monkeypatch.setenv("SEVENP_SECRETS_DIR", str(secrets / "file"))

    assert "is not a folder" in str(effective_settings().mistake)


def test_the_revision_is_known_whatever_else_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    assert revision() == "unknown" == load_settings().role.revision
    monkeypatch.setenv("SEVENP_REVISION", "abc1234")
    monkeypatch.setenv("SEVENP_NONSENSE", "1")

    assert revision() == "abc1234"
