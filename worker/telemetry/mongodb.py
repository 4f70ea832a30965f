"""The MongoDB client as its user feels it: the time of each command, those that fail or are slow, and repeats."""

from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from typing import Any, Final

from pymongo import errors, monitoring

from worker.telemetry.health import beat_acting
from worker.telemetry.labels import OPERATIONS, OTHER, RetryReason
from worker.telemetry.metrics import Metrics

# Somebody waits: the largest batch takes less.
SLOW_S: Final = 1.0
# A change stream's answer waits for news.
_WAITING: Final = "getMore"

# Server error codes that say "another primary": NotWritablePrimary, PrimarySteppedDown, shutdown, failover.
_NOT_PRIMARY_CODES = frozenset({91, 189, 10107, 11600, 11602, 13435, 13436})
_WRITE_CONFLICT_CODE = 112


class CommandTimer(monitoring.CommandListener):
    """Feeds the metrics `mongodb_..._duration_seconds` and `mongodb_..._commands_total`.

    Collections outside `collections` share the label `other`. Every answer is a beat of the component that asked: the
    driver calls listeners in the asking task. `on_code` hears the code of every refusal: of a command, of one of its
    writes, or of its write concern.
    """

    def __init__(
        self,
        metrics: Metrics,
        collections: Collection[str],
        on_code: Callable[[int], None] = lambda _code: None,
    ) -> None:
        self._durations = metrics.mongodb_operation_duration_seconds
        self._failed, self._slow = metrics.mongodb_failed_commands_total, metrics.mongodb_slow_commands_total
        self._collections = frozenset(collections)
        self._on_code = on_code
        # Only the start names the collection, only the end knows the duration. A task waits for one command at a
        # time and hears of both itself, so each keeps its latest: one that is cancelled has no end, and no table
        # keeps it either.
        self._latest: ContextVar[tuple[int, str]] = ContextVar("latest_command", default=(0, OTHER))
        metrics.prepare_collections((*self._collections, OTHER))

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        command: Any = event.command
        target = (
            command.get("collection") if event.command_name == _WAITING else command.get(event.command_name)
        )
        known = isinstance(target, str) and target in self._collections
        self._latest.set((event.request_id, target if known else OTHER))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        self._finished(event)
        for code in _codes_within(event.reply):
            self._on_code(code)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self._failed.labels(self._finished(event)).inc()
        code = event.failure.get("code")
        if isinstance(code, int):
            self._on_code(code)

    def _finished(self, event: monitoring.CommandSucceededEvent | monitoring.CommandFailedEvent) -> str:
        """Time a command that is over; the label of its collection."""
        beat_acting()
        request, collection = self._latest.get()
        if request != event.request_id:
            collection = OTHER
        operation = event.command_name if event.command_name in OPERATIONS else OTHER
        took_s = event.duration_micros / 1_000_000
        self._durations.labels(operation).observe(took_s)
        if took_s >= SLOW_S and operation != _WAITING:
            self._slow.labels(collection).inc()
        return collection


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
