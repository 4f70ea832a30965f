"""The log as a receiver: for trying things out, and for kinds nobody wants to be told about yet."""

from collections import Counter

import structlog

from worker.notify.delivery import Accepted, Delivery, Message, Recipient
from worker.timing import Clock

log = structlog.get_logger(__name__)

# So often at most the log says how many there were: a backlog of thousands must not fill it.
_SAY_EVERY_S = 10.0


class LogSender:
    """Says now and then how many notifications of each kind there were; at level debug, each one with its key."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said_at = float("-inf")
        self._unsaid: Counter[str] = Counter()

    async def send(self, message: Message, recipient: Recipient) -> Delivery:
        """Always accepted; the content is never logged."""
        log.debug("notification", key=message.key, kind=message.kind, size_bytes=len(message.body))
        self._unsaid[message.kind] += 1
        if self._clock.monotonic() >= self._said_at + _SAY_EVERY_S:
            self._say()
        return Accepted()

    async def close(self) -> None:
        """Say what was not said yet."""
        self._say()

    def _say(self) -> None:
        if self._unsaid:
            log.info("notifications_logged", notifications=self._unsaid.total(), kinds=dict(self._unsaid))
        self._unsaid.clear()
        self._said_at = self._clock.monotonic()
