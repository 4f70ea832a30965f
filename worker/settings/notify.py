"""Notify: which kind of notification goes where, and what each channel needs for that."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from worker.settings.addresses import Host, Topic, http_url, mail_address, of_secret
from worker.settings.hosts import is_loopback
from worker.settings.names import variable
from worker.settings.role import RoleSettings


class NotificationKind(StrEnum):
    """What a learner, or another system, is notified of."""

    WELCOME = "welcome"
    COMPLETION = "completion"


class Channel(StrEnum):
    """Where a notification can go."""

    LOG = "log"
    KAFKA = "kafka"
    WEBHOOK = "webhook"
    MAIL = "mail"


# What a channel cannot do without.
_NEEDED = {Channel.WEBHOOK: ("webhook_url", "webhook_secret"), Channel.MAIL: ("smtp_host", "mail_from")}


def _routes(value: Any) -> Any:
    """`welcome=log, completion=webhook`; a kind that is not named goes to the log."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if any(not separator for _, separator, _ in pairs):
        raise ValueError("write kind=channel, separated by commas: welcome=log,completion=webhook")
    named = {kind.strip().lower(): channel.strip().lower() for kind, _, channel in pairs}
    return {**dict.fromkeys(NotificationKind, Channel.LOG), **named}


class NotifySettings(RoleSettings, alias_generator="notify_{}".format):
    """How notifications are sent."""

    routes: Annotated[Mapping[NotificationKind, Channel], BeforeValidator(_routes)] = dict.fromkeys(
        NotificationKind, Channel.LOG
    )
    """Which kind goes where: welcome and completion to log, kafka, webhook or mail."""
    send_timeout_s: float = Field(10.0, gt=0, le=60)
    """Time a receiver has to take one notification."""
    lease_s: float = Field(60.0, ge=2, le=3_600)
    """Silence after which another worker sends what this one had taken."""
    max_refusals: int = Field(12, ge=1, le=1_000)
    """Refusals of one notification's content before it counts as failed."""
    kafka_topic: Topic = "notifications"
    """Topic for the channel kafka."""
    kafka_idempotent: bool = True
    """False for a broker without idempotent producers: a record may stand there twice."""
    webhook_url: Annotated[SecretStr, AfterValidator(of_secret(http_url))] | None = None
    """Where the channel webhook posts to, https or on this machine. Secret: it may hold a token."""
    webhook_secret: Annotated[SecretStr, Field(min_length=16)] | None = None
    """Key the webhook's requests are signed with, 16 characters or more. Secret."""
    webhook_legacy_headers: bool = True
    """Send Sevenp-Signature and Idempotency-Key beside the headers of Standard Webhooks."""
    webhook_allow_http: bool = False
    """Let the webhook be plain http on another machine, too."""
    smtp_host: Host | None = None
    """Mail server of the channel mail."""
    smtp_port: int = Field(587, ge=1, le=65_535)
    """Its port."""
    smtp_tls: Literal["auto", "required", "implicit"] = "auto"
    """STARTTLS where offered (auto) or always (required), or TLS at once (implicit)."""
    smtp_username: str | None = None
    """Who logs in to the mail server; empty for nobody."""
    smtp_password: SecretStr | None = None
    """The password. Secret."""
    mail_from: Annotated[str, AfterValidator(mail_address)] | None = None
    """Address the mails come from."""
    concurrency: int = 16  # sends of a channel under way
    # Rows in hand, those included that wait for a free place: a claim costs five commands, however many it takes.
    in_hand: int = 128
    # A look for new rows is one query of an index.
    look_every_s: float = 0.25
    # The longest pause, and how often rows are looked for whose lease has run out.
    poll_s: float = 2.0
    # How long rows that nobody can read or change are left alone.
    pass_over_s: float = 20.0
    shortest_wait_s: float = 1.0
    # After an outage every row is tried within a minute: ten times sooner than the alert.
    longest_wait_unavailable_s: float = 60.0
    # With `max_refusals`: half an hour on average, long enough to undo a bad deployment of the receiver.
    longest_wait_refused_s: float = 3_600.0
    # A worker that waits for MongoDB waits 5 s at most between two attempts: three of them.
    longest_grace_s: float = 15.0

    @property
    def takeover_grace_s(self) -> float:
        """After MongoDB was away, leases that ran out are respected so long: owners mark what they have sent."""
        return min(self.longest_grace_s, self.lease_s)

    @property
    def channels(self) -> frozenset[Channel]:
        """Those in use."""
        return frozenset(self.routes.values())

    def unusable(self, drain_deadline_s: float) -> Iterator[str]:
        """What would leave sends in doubt, a channel in use without what it needs, or personal data in the open."""
        if self.send_timeout_s >= drain_deadline_s:
            yield (
                f"{self.variable('send_timeout_s')} must be below {variable('drain_deadline_s')} "
                f"({drain_deadline_s:g} s): else a stop leaves sends in doubt"
            )
        for channel, names in _NEEDED.items():
            missing = [self.variable(name) for name in names if getattr(self, name) is None]
            if channel in self.channels and missing:
                yield f"{self.variable('routes')} has {channel}: it needs {' and '.join(missing)}"
        yield from self.halves(("smtp_username", "smtp_password"), ("smtp_password", "smtp_username"))
        if Channel.WEBHOOK in self.channels and self.webhook_url is not None and not self.webhook_allow_http:
            parts = urlsplit(self.webhook_url.get_secret_value())
            if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
                yield (
                    f"{self.variable('webhook_url')} must be https; "
                    f"{self.variable('webhook_allow_http')} lets it be plain http"
                )
