"""The MongoDB client as its user feels it: the time of each command, and why commands are repeated."""

from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from typing import Any

from pymongo import errors, monitoring

from worker.telemetry.health import beat_acting
from worker.telemetry.metrics import Metrics, RetryReason

OTHER = "other"

# The commands the worker sends; the rest (hello, endSessions ...) share one label.
OPERATIONS = frozenset(
    {
        "aggregate",
        "count",
        "delete",
        "find",
        "findAndModify",
        "getMore",
        "insert",
        "update",
        "commitTransaction",
    }
)

# Server error codes that say "another primary": NotWritablePrimary, PrimarySteppedDown, shutdown, failover.
_NOT_PRIMARY_CODES = frozenset({91, 189, 10107, 11600, 11602, 13435, 13436})
_WRITE_CONFLICT_CODE = 112


class CommandTimer(monitoring.CommandListener):
    """Feeds `mongodb_operation_duration_seconds`; collections outside `collections` are labelled `other`.

    Every answer is a beat of the component that asked: the driver calls listeners in the asking task. `on_code`
    hears the code of every refusal: of a command, of one of its writes, or of its write concern.
    """

    def __init__(
        self,
        metrics: Metrics,
        collections: Collection[str],
        on_code: Callable[[int], None] = lambda _code: None,
    ) -> None:
        self._durations = metrics.mongodb_operation_duration_seconds
        self._collections = frozenset(collections)
        self._on_code = on_code
        # Only the start names the collection, only the end knows the duration. A task waits for one command at a
        # time and hears of both itself, so each keeps its latest: one that is cancelled has no end, and no table
        # keeps it either.
        self._latest: ContextVar[tuple[int, str]] = ContextVar("latest_command", default=(0, OTHER))

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        command: Any = event.command
        target = (
            command.get("collection") if event.command_name == "getMore" else command.get(event.command_name)
        )
        known = isinstance(target, str) and target in self._collections
        self._latest.set((event.request_id, target if known else OTHER))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        self._finished(event)
        for code in _codes_within(event.reply):
            self._on_code(code)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self._finished(event)
        code = event.failure.get("code")
        if isinstance(code, int):
            self._on_code(code)

    def _finished(self, event: monitoring.CommandSucceededEvent | monitoring.CommandFailedEvent) -> None:
        beat_acting()
        request, collection = self._latest.get()
        if request != event.request_id:
            collection = OTHER
        operation = event.command_name
        if operation not in OPERATIONS:  # schema checks and the like, on every collection there is
            operation = collection = OTHER
        self._durations.labels(operation, collection).observe(event.duration_micros / 1_000_000)


def _codes_within(reply: Mapping[str, Any]) -> set[int]:
    """The codes in a reply that says "ok" nevertheless; almost always none."""
    failures = [*reply.get("writeErrors", ())]
    if concern := reply.get("writeConcernError"):
        failures.append(concern)
    return {failure["code"] for failure in failures if isinstance(failure.get("code"), int)}


def retry_reason(error: BaseException) -> RetryReason:
    """Why `error`, a Retryable or the driver's own error, asks for another try."""
    cause = error.__cause__ or error
    code = cause.code if isinstance(cause, errors.OperationFailure) else None
    if isinstance(cause, errors.NotPrimaryError) or code in _NOT_PRIMARY_CODES:
        return RetryReason.NOT_PRIMARY
    if isinstance(cause, errors.PyMongoError) and cause.timeout:
        return RetryReason.TIMEOUT
    if isinstance(cause, errors.ConnectionFailure):
        return RetryReason.NETWORK
    if code == _WRITE_CONFLICT_CODE:
        return RetryReason.WRITE_CONFLICT
    return RetryReason.TIMEOUT if isinstance(cause, TimeoutError) else RetryReason.OTHER


def retry_counter(metrics: Metrics) -> Callable[[BaseException], None]:
    """The `on_retry` callback that feeds `mongodb_retries_total`."""

    def count(error: BaseException) -> None:
        metrics.mongodb_retries_total.labels(retry_reason(error)).inc()

    return count
