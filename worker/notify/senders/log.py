"""The log as a receiver: for trying things out, and for kinds nobody wants to be told about yet."""

import structlog

from worker.notify.delivery import Accepted, Delivery, Message, Recipient

log = structlog.get_logger(__name__)


class LogSender:
    """One line per notification, with its key and without its content."""

    async def send(self, message: Message, recipient: Recipient) -> Delivery:
        """Always accepted."""
        log.info("notification", key=message.key, kind=message.kind, size_bytes=len(message.body))
        return Accepted()

    async def close(self) -> None:
        """Nothing to give back."""
