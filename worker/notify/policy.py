"""What becomes of a row after a delivery, and when a channel is left alone: decided without a clock or chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from worker.notify.delivery import Accepted, Delivery, Refused, Unavailable
from worker.settings import NotifySettings
from worker.timing import backoff_s

# A receiver that asks for more is asked again after an hour: a wrong clock of its own must not silence us.
LONGEST_RETRY_AFTER_S = 3_600.0
LONGEST_ERROR = 300
# Rows that fail one after the other before the channel, and not their content, is to blame.
FAILURES_BEFORE_PAUSE = 3


@dataclass(frozen=True, slots=True)
class RowState:
    """The row's next state. `wait_s` is when a `pending` row is due again."""

    status: Literal["sent", "pending", "failed", "suppressed"]
    error: str | None = None
    wait_s: float = 0.0
    refused: bool = False


def next_state(
    delivery: Delivery, row: Mapping[str, Any], settings: NotifySettings, jitter: float
) -> RowState:
    """Sent, again later, or, after enough refusals, failed. `row` as claimed; `jitter` is uniform in 0-1.

    A receiver that is unavailable is waited for without end: `refusals` alone counts against a row.
    """
    match delivery:
        case Accepted():
            return RowState("sent")
        case Unavailable(reason, retry_after_s):
            wait_s = backoff_s(
                row["attempts"], settings.shortest_wait_s, settings.longest_wait_unavailable_s, jitter
            )
            asked_s = min(retry_after_s or 0.0, LONGEST_RETRY_AFTER_S)
            return RowState("pending", reason[:LONGEST_ERROR], max(wait_s, asked_s))
        case Refused(reason):
            refusals = row.get("refusals", 0) + 1
            if refusals >= settings.max_refusals:
                return RowState("failed", reason[:LONGEST_ERROR], refused=True)
            wait_s = backoff_s(refusals, settings.shortest_wait_s, settings.longest_wait_refused_s, jitter)
            return RowState("pending", reason[:LONGEST_ERROR], wait_s, refused=True)


@dataclass(frozen=True, slots=True)
class Breaker:
    """One channel's state: the rows that failed since the last success, and until when it is left alone.

    A single row that its receiver cannot digest never stops the others: only several different ones do.
    """

    failing: frozenset[str] = frozenset()
    trips: int = 0
    closed_until: float = 0.0

    @property
    def suspicious(self) -> bool:
        """True after a pause and before a success: one row at a time is enough to ask again."""
        return self.trips > 0

    def after(
        self, key: str, delivery: Delivery, settings: NotifySettings, now: float, jitter: float
    ) -> "Breaker":
        """The state after one delivery; `now` and `closed_until` are monotonic seconds."""
        if not isinstance(delivery, Unavailable):
            # An answer about the content: the receiver is there. What it asked for before, it still wants.
            return Breaker(closed_until=self.closed_until)
        failing = self.failing | {key} if len(self.failing) < FAILURES_BEFORE_PAUSE else self.failing
        if delivery.retry_after_s is not None:
            pause_s = min(delivery.retry_after_s, LONGEST_RETRY_AFTER_S)
            return Breaker(failing, self.trips + 1, max(self.closed_until, now + pause_s))
        if len(failing) < FAILURES_BEFORE_PAUSE:
            return Breaker(failing, self.trips, self.closed_until)
        if now < self.closed_until:
            return self  # was under way when another failure closed the channel
        pause_s = backoff_s(
            self.trips + 1, settings.shortest_wait_s, settings.longest_wait_unavailable_s, jitter
        )
        return Breaker(failing, self.trips + 1, now + pause_s)
