"""A sender for every channel that the settings use: stages do not choose their own parts."""

from collections.abc import Callable

from worker.notify.delivery import Sender
from worker.notify.senders.kafka import KafkaSender
from worker.notify.senders.log import LogSender
from worker.notify.senders.mail import MailSender
from worker.notify.senders.webhook import WebhookSender
from worker.settings import Channel, Settings
from worker.timing import Clock


def notify_senders(settings: Settings, clock: Clock) -> dict[str, Sender]:
    """A sender for every channel the routes name; nothing connects yet.

    Raises `Misconfigured` for a setting that is missing or cannot be used.
    """
    makers: dict[Channel, Callable[[], Sender]] = {
        Channel.LOG: lambda: LogSender(clock),
        Channel.KAFKA: lambda: KafkaSender(settings.notify, settings.kafka, clock),
        Channel.WEBHOOK: lambda: WebhookSender(settings.notify, clock),
        Channel.MAIL: lambda: MailSender(settings.notify),
    }
    return {channel.value: makers[channel]() for channel in settings.notify.channels}
