"""Settings that only make sense together: times that must not overtake each other, and what a channel needs."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from worker.settings.hosts import is_loopback
from worker.settings.names import Channel, variable

if TYPE_CHECKING:  # the model calls these checks while it is made
    from worker.settings.model import Settings

# What the consumer is told to send.
HEARTBEATS_PER_SESSION = 20
# Decoding gives the loop its turn every 20 ms or so, a broker under load answers within hundreds.
SHORTEST_SESSION_MS = 1_000
# What a channel cannot do without.
_NEEDED = {
    Channel.WEBHOOK: ("notify_webhook_url", "notify_webhook_secret"),
    Channel.MAIL: ("notify_smtp_host", "notify_mail_from"),
}


def assert_times_fit(settings: "Settings") -> None:
    """Raise ValueError where Kafka would give up on a worker that is still within its own deadlines.

    A rebalance is heard of with a heartbeat; then the batch in hand is drained; then the group must be joined again.
    """
    heartbeat_s = settings.session_timeout_ms / 1000 / HEARTBEATS_PER_SESSION
    if settings.rebalance_timeout_ms <= (settings.drain_deadline_s + heartbeat_s) * 1000:
        raise ValueError(
            f"{variable('rebalance_timeout_ms')} ({settings.rebalance_timeout_ms} ms) must be above "
            f"{variable('drain_deadline_s')} ({settings.drain_deadline_s:g} s) and a heartbeat ({heartbeat_s:g} s, a "
            f"twentieth of {variable('session_timeout_ms')}) together: else Kafka hands partitions over while this "
            "worker is still finishing them"
        )
    if settings.session_timeout_ms > settings.rebalance_timeout_ms:
        raise ValueError(
            f"{variable('session_timeout_ms')} ({settings.session_timeout_ms} ms) must not be above "
            f"{variable('rebalance_timeout_ms')} ({settings.rebalance_timeout_ms} ms)"
        )
    if settings.session_timeout_ms < SHORTEST_SESSION_MS:
        raise ValueError(
            f"{variable('session_timeout_ms')} ({settings.session_timeout_ms} ms) must not be below "
            f"{SHORTEST_SESSION_MS} ms: one slow answer would cost this worker its partitions"
        )


def assert_channels_are_usable(settings: "Settings") -> None:
    """Raise ValueError for a channel in use that lacks a setting, or would carry notifications in the open."""
    if settings.notify_send_timeout_s >= settings.drain_deadline_s:
        raise ValueError(
            f"{variable('notify_send_timeout_s')} must be below {variable('drain_deadline_s')} "
            f"({settings.drain_deadline_s:g} s): else a stop leaves sends in doubt"
        )
    used = set(settings.notify_routes.values())
    for channel, names in _NEEDED.items():
        missing = [variable(name) for name in names if channel in used and getattr(settings, name) is None]
        if missing:
            raise ValueError(f"{variable('notify_routes')} has {channel}: it needs {' and '.join(missing)}")
    _assert_mail_login_is_whole(settings)
    if Channel.WEBHOOK in used and settings.notify_webhook_url is not None:
        _assert_private(settings.notify_webhook_url.get_secret_value(), settings.notify_webhook_allow_http)


def _assert_mail_login_is_whole(settings: "Settings") -> None:
    for name, other in (
        ("notify_smtp_username", "notify_smtp_password"),
        ("notify_smtp_password", "notify_smtp_username"),
    ):
        if getattr(settings, name) is not None and getattr(settings, other) is None:
            raise ValueError(f"{variable(name)} needs {variable(other)}")


def _assert_private(url: str, allow_http: bool) -> None:
    """Notifications are personal: they leave this machine encrypted, unless somebody decided otherwise."""
    parts = urlsplit(url)
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname or ""):
        raise ValueError(
            f"{variable('notify_webhook_url')} must be https; "
            f"{variable('notify_webhook_allow_http')} lets it be plain http"
        )
