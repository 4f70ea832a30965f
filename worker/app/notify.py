"""The notify role from the settings: which kind goes where, and a sender for every channel in use."""

from worker.errors import Misconfigured
from worker.kafka.security import kafka_options
from worker.notify.delivery import Sender
from worker.notify.lane import LaneOptions
from worker.notify.policy import Policy
from worker.notify.senders.kafka import KafkaOptions, KafkaSender
from worker.notify.senders.log import LogSender
from worker.notify.senders.mail import MailOptions, MailSender
from worker.notify.senders.mailbox import mailbox
from worker.notify.senders.webhook import WebhookOptions, WebhookSender
from worker.notify.service import NotifyOptions
from worker.settings import Channel, Settings, variable
from worker.timing import Clock

# A worker that waits for MongoDB waits 5 s at most between two attempts: three of them.
_TAKEOVER_GRACE_S = 15.0


def notify_options(settings: Settings) -> NotifyOptions:
    """How the role works."""
    return NotifyOptions(
        code_version=settings.role.code_version,
        routes={kind.value: channel.value for kind, channel in settings.notify.routes.items()},
        lane=LaneOptions(
            lease_s=settings.notify.lease_s, policy=Policy(max_refusals=settings.notify.max_refusals)
        ),
        takeover_grace_s=min(_TAKEOVER_GRACE_S, settings.notify.lease_s),
        drain_deadline_s=settings.role.drain_deadline_s,
    )


def notify_senders(settings: Settings, clock: Clock) -> dict[str, Sender]:
    """A sender for every channel the routes name; nothing connects yet.

    Raises `Misconfigured` for a setting that is missing or cannot be used.
    """
    return {channel.value: _sender(channel, settings, clock) for channel in settings.notify.channels}


def _sender(channel: Channel, settings: Settings, clock: Clock) -> Sender:
    match channel:
        case Channel.LOG:
            return LogSender()
        case Channel.KAFKA:
            return KafkaSender(
                KafkaOptions(
                    bootstrap_servers=settings.kafka.bootstrap_servers,
                    topic=settings.notify.kafka_topic,
                    idempotent=settings.notify.kafka_idempotent,
                    request_limit_s=settings.notify.send_timeout_s,
                    kafka=kafka_options(settings.kafka),
                )
            )
        case Channel.WEBHOOK:
            return _webhook(settings, clock)
        case Channel.MAIL:
            return _mail(settings)


def _webhook(settings: Settings, clock: Clock) -> Sender:
    url, secret = settings.notify.webhook_url, settings.notify.webhook_secret
    if url is None or secret is None:
        raise Misconfigured(
            f"{variable('notify_webhook_url')} and {variable('notify_webhook_secret')} are needed"
        )
    options = WebhookOptions(
        url=url.get_secret_value(),
        secret=secret.get_secret_value(),
        legacy_headers=settings.notify.webhook_legacy_headers,
        limit_s=settings.notify.send_timeout_s,
    )
    return WebhookSender(options, clock)


def _mail(settings: Settings) -> Sender:
    host, password = settings.notify.smtp_host, settings.notify.smtp_password
    sender = mailbox(settings.notify.mail_from)
    if host is None or sender is None:
        raise Misconfigured(f"{variable('notify_smtp_host')} and {variable('notify_mail_from')} are needed")
    options = MailOptions(
        host=host,
        port=settings.notify.smtp_port,
        sender=sender,
        tls=settings.notify.smtp_tls,
        username=settings.notify.smtp_username,
        password=password.get_secret_value() if password is not None else None,
        limit_s=settings.notify.send_timeout_s,
    )
    return MailSender(options)
