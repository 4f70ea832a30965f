"""Where notifications may go, and what is refused before anything is sent."""

from pathlib import Path

import pytest

from worker.errors import Misconfigured
from worker.settings import Channel, NotificationKind, load_settings

WEBHOOK = {
    "notify_routes": "completion=webhook",
    "notify_webhook_url": "https://example.org/hook?token=hunter2",
    "notify_webhook_secret": "a secret of some length",
}


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEVENP_SECRETS_DIR", str(tmp_path / "absent"))


def test_everything_goes_to_the_log_until_somebody_decides() -> None:
    assert load_settings().notify.routes == dict.fromkeys(NotificationKind, Channel.LOG)


def test_a_kind_that_is_not_named_goes_to_the_log() -> None:
    settings = load_settings(**WEBHOOK)
    assert settings.notify.routes == {
        NotificationKind.COMPLETION: Channel.WEBHOOK,
        NotificationKind.WELCOME: Channel.LOG,
    }


@pytest.mark.parametrize("routes", ["welcome", "welcome=fax", "farewell=log", "welcome=log;completion=log"])
def test_routes_that_mean_nothing_are_refused(routes: str) -> None:
    with pytest.raises(Misconfigured, match=r"^SEVENP_NOTIFY_ROUTES: "):
        load_settings(notify_routes=routes)


@pytest.mark.parametrize(
    ("routes", "missing"),
    [
        ("welcome=webhook", "SEVENP_NOTIFY_WEBHOOK_URL and SEVENP_NOTIFY_WEBHOOK_SECRET"),
        ("welcome=mail", "SEVENP_NOTIFY_SMTP_HOST and SEVENP_NOTIFY_MAIL_FROM"),
    ],
)
def test_a_channel_without_what_it_needs_is_refused(routes: str, missing: str) -> None:
    with pytest.raises(Misconfigured, match=missing):
        load_settings(notify_routes=routes)


def test_a_worker_without_the_role_needs_none_of_it() -> None:
    load_settings(notify_routes="welcome=mail", roles="ingest,progress")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]/x", "https://a/x"]
)
def test_https_and_this_machine_are_private_enough(url: str) -> None:
    load_settings(**{**WEBHOOK, "notify_webhook_url": url})


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/hunter2",
        "http://127.0.0.1.example.org/hunter2",
        "ftp://a/hunter2",
        "hunter2",
        "https:///hunter2",
        "http://[hunter2",
    ],
)
def test_any_other_address_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(Misconfigured, match="SEVENP_NOTIFY_WEBHOOK_URL") as refused:
        load_settings(**{**WEBHOOK, "notify_webhook_url": url})
    assert "hunter2" not in str(refused.value)


def test_plain_http_elsewhere_can_be_allowed() -> None:
    load_settings(
        **{**WEBHOOK, "notify_webhook_url": "http://hooks.internal/x", "notify_webhook_allow_http": True}
    )


def test_a_secret_anybody_could_guess_is_refused_without_showing_it() -> None:
    with pytest.raises(Misconfigured, match="SEVENP_NOTIFY_WEBHOOK_SECRET") as refused:
        load_settings(**{**WEBHOOK, "notify_webhook_secret": "hunter2"})
    assert "hunter2" not in str(refused.value)


def test_secrets_are_not_shown() -> None:
    settings = load_settings(**WEBHOOK, notify_smtp_username="u", notify_smtp_password="hunter2")  # noqa: S106
    assert "hunter2" not in f"{settings!r} {settings.model_dump_json()}"


def test_a_send_that_outlasts_a_stop_is_refused() -> None:
    with pytest.raises(
        Misconfigured, match="SEVENP_NOTIFY_SEND_TIMEOUT_S must be below SEVENP_DRAIN_DEADLINE_S"
    ):
        load_settings(notify_send_timeout_s=20.0, drain_deadline_s=20.0)
