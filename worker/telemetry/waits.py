"""A wait for a server as the log tells it: when it begins, once a minute while it lasts, and when it is over."""

from typing import Any, Final, Literal

from aiokafka.errors import KafkaError
from pymongo.errors import PyMongoError
from structlog.typing import FilteringBoundLogger

from worker.timing import Clock

# Often enough to see that somebody still waits, and for what; an outage of a day is 1,440 lines.
REMIND_EVERY_S: Final = 60.0
# A server that comes and goes is not told of with each of its answers: what begins within this time is told of once
# the time is over, if it lasts.
_QUIET_S: Final = 10.0


class Wait:
    """Turns the failures of one loop into a few lines, under the name of its event.

    `failed` is called for each failure, `over` for each success. However many there are, one warning says that the
    wait has begun, one a minute that it lasts, and `<event>_over` that it has ended, with the seconds it took and the
    failures there were. All of them have the `fields`.
    """

    def __init__(self, log: FilteringBoundLogger, clock: Clock, event: str, **fields: Any) -> None:
        self._log = log
        self._clock = clock
        self._event = event
        self._fields = fields
        self._since: float | None = None
        self._said_at: float | None = None
        self._quiet_until = clock.monotonic()
        self._failures = 0

    def failed(self, error: BaseException) -> None:
        """What is waited for has failed once more."""
        now = self._clock.monotonic()
        if self._since is None:
            self._since, self._failures = now, 0
        self._failures += 1
        due_at = self._quiet_until if self._said_at is None else self._said_at + REMIND_EVERY_S
        if now >= due_at:
            self._said_at = now
            self._log.warning(
                self._event, **self._fields, reason=str(error), **self._so_far(self._since, now)
            )

    def over(self) -> None:
        """It has answered. Costs nothing where nobody waits."""
        if self._since is None:
            return
        now = self._clock.monotonic()
        if self._said_at is not None:
            self._log.info(f"{self._event}_over", **self._fields, **self._so_far(self._since, now))
            self._quiet_until = now + _QUIET_S
        self._since = self._said_at = None

    def _so_far(self, since: float, now: float) -> dict[str, Any]:
        return {"waited_s": round(now - since, 1), "failures": self._failures}


class Waits:
    """The waits of a role that needs both servers, told apart by which of them gave no answer.

    `<role>_waits` is for what neither is to blame for: an assignment that changes, say.
    """

    def __init__(self, log: FilteringBoundLogger, clock: Clock, role: str) -> None:
        self.mongodb = Wait(log, clock, f"{role}_waits_for_mongodb")
        self.kafka = Wait(log, clock, f"{role}_waits_for_kafka")
        self._neither = Wait(log, clock, f"{role}_waits")

    def failed(self, error: BaseException) -> None:
        """A step has failed, and is tried again."""
        match server_of(error):
            case "mongodb":
                self.mongodb.failed(error)
            case "kafka":
                self.kafka.failed(error)
            case None:
                self._neither.failed(error)

    def over(self) -> None:
        """Everything that such a step needs has answered."""
        for wait in (self.mongodb, self.kafka, self._neither):
            wait.over()


def server_of(error: BaseException) -> Literal["mongodb", "kafka"] | None:
    """Which server an error of ours is about, by what the driver raised below it."""
    step: BaseException | None = error
    while step is not None:
        if isinstance(step, PyMongoError):
            return "mongodb"
        if isinstance(step, KafkaError | TimeoutError | OSError):
            return "kafka"
        step = step.__cause__
    return None
