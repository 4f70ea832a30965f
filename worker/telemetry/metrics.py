"""Every metric of the worker, in one place: its name, its labels, and the closed sets its labels come from.

An attribute has its metric's name without the prefix `sevenp_worker_`. Units are base units: seconds, bytes.
Labels never carry a learner, stream, event, course or lesson. Label values known in advance exist at 0 from
the start, else `increase()` would miss the first event; `partition` stands only on the two lag gauges and is
removed when the partition is revoked.
"""

import platform
from collections.abc import Iterable
from enum import StrEnum

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics import MetricWrapperBase

from projections.catalogue import CATALOGUE
from projections.kinds import Catalogue
from worker import __version__
from worker.contract.gaps import GapReason
from worker.contract.rejection import RejectReason

PREFIX = "sevenp_worker"

# From one statement on a warm server (2 ms) to the longest wait an operator tolerates in a stage.
DURATION_BUCKETS_S = (0.002, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
# Coarse on purpose: operations x collections x buckets is the largest family of series we have.
MONGODB_BUCKETS_S = (0.01, 0.1, 1)
# A batch grows from one record to 5,000, or what the settings say.
BATCH_BUCKETS = (1, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000)
# A learner's device can be offline for days: seconds, minutes, an hour, a day, a week.
LATENESS_BUCKETS_S = (1, 10, 60, 600, 3_600, 21_600, 86_400, 604_800)
# Alert at 30 s; the goal is below a second.
FRESHNESS_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
# The drain deadline defaults to 20 s.
DRAIN_BUCKETS_S = (0.1, 0.5, 1, 2.5, 5, 10, 15, 20, 30, 60)


class Outcome(StrEnum):
    """What became of one consumed record; the outcomes of all records sum up to the records consumed."""

    STORED = "stored"
    REDELIVERED = "redelivered"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    DEAD_LETTERED = "dead_lettered"
    SKIPPED = "skipped"


class Stage(StrEnum):
    """The timed steps of one ingest batch, in their order."""

    DECODE = "decode"
    PLAN = "plan"
    EVENT_STORE = "event_store"
    TIME_SERIES = "time_series"
    COMMIT = "commit"


class DropReason(StrEnum):
    """Why a record has no outcome: consumed, and neither stored nor accounted for otherwise. Always a defect."""

    OVERFLOW = "overflow"
    UNEXPECTED = "unexpected"


class RebalanceKind(StrEnum):
    ASSIGNED = "assigned"
    REVOKED = "revoked"


class DrainCause(StrEnum):
    REVOKE = "revoke"
    SHUTDOWN = "shutdown"


class RestartReason(StrEnum):
    """Why a change stream was opened again."""

    RESUMABLE = "resumable"
    HISTORY_LOST = "history_lost"
    INVALIDATED = "invalidated"
    LEASE_LOST = "lease_lost"


class Mode(StrEnum):
    """Who folded an event into a projection."""

    LIVE = "live"
    RETRY = "retry"
    REPLAY = "replay"


class Applied(StrEnum):
    """What became of an event at a projection."""

    APPLIED = "applied"
    STALE = "stale"
    FAILED = "failed"


class RetryReason(StrEnum):
    """Why an operation on MongoDB is repeated."""

    NETWORK = "network"
    TIMEOUT = "timeout"
    NOT_PRIMARY = "not_primary"
    WRITE_CONFLICT = "write_conflict"
    OTHER = "other"


class NotificationOutcome(StrEnum):
    """What became of a claimed notification; a deferred one is tried again and counts again."""

    SENT = "sent"
    SUPPRESSED = "suppressed"
    FAILED = "failed"
    DEFERRED = "deferred"


class RetryOutcome(StrEnum):
    """What an attempt made of a queue item; all but the first and the last leave it to be tried again."""

    COMPLETED = "completed"
    FAILED = "failed"
    POSTPONED = "postponed"  # a dependency was away: the attempt does not count
    EXHAUSTED = "exhausted"  # failed, and it was the last attempt: waits for other code or an operator


class ErrorClass(StrEnum):
    """Why an attempt failed, as far as a closed set can tell; the item itself names the exception."""

    NONE = "none"
    ARITHMETIC = "ArithmeticError"
    ATTRIBUTE = "AttributeError"
    INDEX = "IndexError"
    KEY = "KeyError"
    TYPE = "TypeError"
    VALUE = "ValueError"
    REFUSED = "Refused"  # the store objects to the document
    INTERRUPTED = "Interrupted"  # the worker did not survive the attempt
    UNAVAILABLE = "unavailable"
    OTHER = "other"


# Who holds something bounded or fenced, who follows a change stream, what is projected.
COMPONENTS = ("ingest", "progress", "counts", "notify")
WATCHERS = ("progress", "counts")
# Who follows what read models are made from, where there are any.
MODELS = ("models",)
# The steps that make dead letters, and the states of what is tried again.
DEAD_LETTER_STEPS = ("ingest",)
QUEUE_STATES = ("pending", "processing", "completed", "failed")
ROW_COLLECTIONS = ("notifications", "billing_transactions")
NOTIFICATION_KINDS = ("welcome", "completion")


class Metrics:
    """All metrics on one registry; a registry of its own unless one is given. `catalogue` names the projections."""

    def __init__(self, registry: CollectorRegistry | None = None, catalogue: Catalogue = CATALOGUE) -> None:
        # `_created` series double the number of counters and answer no question of ours.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._projections = catalogue.names
        self._watchers = (*WATCHERS, *(MODELS if catalogue.models else ()))
        self.registry = registry if registry is not None else CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._define_process()
        self._define_kafka()
        self._define_ingest()
        self._define_mongodb()
        self._define_watch()
        self._define_retry()
        self._define_notify()

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, namespace=PREFIX, registry=self.registry)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(name, help_text, labels, namespace=PREFIX, registry=self.registry)

    def _histogram(self, name: str, help_text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, help_text, labels, namespace=PREFIX, registry=self.registry, buckets=buckets)

    def _define_process(self) -> None:
        self.build_info = self._gauge("build_info", "Always 1.", "version", "revision", "python")
        self.component_up = self._gauge("component_up", "1 while the component moves.", "component")
        self.component_last_progress_timestamp_seconds = self._gauge(
            "component_last_progress_timestamp_seconds",
            "Unix time of the component's last progress.",
            "component",
        )
        self.drain_duration_seconds = self._histogram(
            "drain_duration_seconds",
            "From the order to stop until all is done.",
            DRAIN_BUCKETS_S,
            "cause",
        )
        self.buffer_bytes = self._gauge("buffer_bytes", "Bytes held in memory.", "stage")
        self.buffer_limit_bytes = self._gauge("buffer_limit_bytes", "Where reading pauses.", "stage")
        _at_zero(self.drain_duration_seconds, DrainCause)
        _at_zero(self.buffer_bytes, COMPONENTS)
        _at_zero(self.buffer_limit_bytes, COMPONENTS)

    def _define_kafka(self) -> None:
        self.kafka_records_consumed_total = self._counter(
            "kafka_records_consumed_total", "Records read, each once per reading.", "topic"
        )
        self.kafka_consumer_lag_records = self._gauge(
            "kafka_consumer_lag_records", "End offset minus durable offset.", "topic", "partition"
        )
        self.kafka_consumer_lag_seconds = self._gauge(
            "kafka_consumer_lag_seconds",
            "Age of the oldest unread record; 0 if none.",
            "topic",
            "partition",
        )
        self.kafka_scalable_lag_records = self._gauge(
            "kafka_scalable_lag_records", "Lag without paused partitions, for autoscaling.", "topic"
        )
        self.kafka_assigned_partitions = self._gauge(
            "kafka_assigned_partitions", "Partitions this worker owns.", "topic"
        )
        self.kafka_paused_partitions = self._gauge(
            "kafka_paused_partitions", "Owned partitions that are not read at the moment.", "topic"
        )
        self.kafka_rebalances_total = self._counter(
            "kafka_rebalances_total", "Assignments and revocations.", "kind"
        )
        self.gap_records_total = self._counter("gap_records_total", "Gaps recorded in the log.", "reason")
        _at_zero(self.kafka_rebalances_total, RebalanceKind)
        _at_zero(self.gap_records_total, GapReason)

    def _define_ingest(self) -> None:
        self.events_processed_total = self._counter(
            "events_processed_total", "Records by outcome; sums up to those consumed.", "topic", "outcome"
        )
        self.events_dropped_total = self._counter(
            "events_dropped_total", "Records consumed that have no outcome. Stays 0.", "reason"
        )
        self.ingest_stage_duration_seconds = self._histogram(
            "ingest_stage_duration_seconds", "Time of one batch in one stage.", DURATION_BUCKETS_S, "stage"
        )
        self.ingest_batch_events = self._histogram(
            "ingest_batch_events", "Records per batch.", BATCH_BUCKETS, "topic"
        )
        self.event_lateness_seconds = self._histogram(
            "event_lateness_seconds", "From what happened to its record in Kafka.", LATENESS_BUCKETS_S
        )
        self.dead_lettered_events_total = self._counter(
            "dead_lettered_events_total", "Records that became dead letters, with their bytes.", "error_class"
        )
        self.fenced_writes_total = self._counter(
            "fenced_writes_total", "Writes refused because a newer owner exists.", "component"
        )
        self.version_holes_filled_total = self._counter(
            "version_holes_filled_total", "Voids stored in streams."
        )
        _at_zero(self.events_dropped_total, DropReason)
        _at_zero(self.ingest_stage_duration_seconds, Stage)
        _at_zero(self.dead_lettered_events_total, RejectReason)
        _at_zero(self.fenced_writes_total, COMPONENTS)

    def _define_mongodb(self) -> None:
        self.mongodb_operation_duration_seconds = self._histogram(
            "mongodb_operation_duration_seconds",
            "Time of one command, seen from the client.",
            MONGODB_BUCKETS_S,
            "operation",
            "collection",
        )
        self.mongodb_retries_total = self._counter("mongodb_retries_total", "Operations repeated.", "reason")
        self.lease_held = self._gauge("lease_held", "1 while this worker holds the lease.", "lease")
        self.lease_transitions_total = self._counter(
            "lease_transitions_total", "Times this worker took or lost the lease.", "lease"
        )
        _at_zero(self.mongodb_retries_total, RetryReason)

    def _define_watch(self) -> None:
        self.change_stream_events_total = self._counter(
            "change_stream_events_total", "Changes seen.", "watcher"
        )
        self.change_stream_lag_seconds = self._gauge(
            "change_stream_lag_seconds", "Age of the position in the change stream.", "watcher"
        )
        self.change_stream_oplog_headroom_seconds = self._gauge(
            "change_stream_oplog_headroom_seconds",
            "Time until our position leaves the oplog.",
            "watcher",
        )
        self.change_stream_last_heartbeat_timestamp_seconds = self._gauge(
            "change_stream_last_heartbeat_timestamp_seconds", "Unix time of the last answer.", "watcher"
        )
        self.change_stream_restarts_total = self._counter(
            "change_stream_restarts_total", "Change streams opened again.", "watcher", "reason"
        )
        self.projection_events_applied_total = self._counter(
            "projection_events_applied_total", "Events met by a fold.", "projection", "mode", "outcome"
        )
        self.projection_frozen_streams = self._gauge(
            "projection_frozen_streams",
            "Streams met here whose document a newer release made: they stand still.",
            "projection",
        )
        self.projection_freshness_seconds = self._histogram(
            "projection_freshness_seconds", "From event stored to visible.", FRESHNESS_BUCKETS_S, "projection"
        )
        _at_zero(self.change_stream_events_total, self._watchers)
        _at_zero(self.change_stream_restarts_total, self._watchers, RestartReason)
        _at_zero(self.projection_events_applied_total, self._projections, Mode, Applied)
        _at_zero(self.projection_freshness_seconds, self._projections)
        _at_zero(self.projection_frozen_streams, self._projections)

    def _define_notify(self) -> None:
        self.notifications_total = self._counter(
            "notifications_total", "Notifications by what became of them.", "kind", "outcome"
        )
        self.outbox_pending_events = self._gauge(
            "outbox_pending_events", "Notifications still to be sent, of the whole platform."
        )
        self.outbox_oldest_age_seconds = self._gauge(
            "outbox_oldest_age_seconds", "Age of the oldest of them; 0 if there is none."
        )
        _at_zero(self.notifications_total, NOTIFICATION_KINDS, NotificationOutcome)

    def _define_retry(self) -> None:
        self.retry_queue_events = self._gauge(
            "retry_queue_events", "Queue items of the whole platform by state.", "state"
        )
        self.retry_oldest_age_seconds = self._gauge(
            "retry_oldest_age_seconds", "Age of the oldest item that is not completed; 0 if there is none."
        )
        self.retry_blocked_streams = self._gauge(
            "retry_blocked_streams", "Streams with an item that is not completed."
        )
        self.refused_rows = self._gauge(
            "refused_rows", "Rows of outbox and billing that the server refuses; they wait.", "collection"
        )
        self.retry_attempts_total = self._counter(
            "retry_attempts_total", "Attempts by what they made of the item.", "outcome", "error_class"
        )
        self.dead_letter_events = self._gauge(
            "dead_letter_events", "Dead letters that nobody has acted upon.", "step"
        )
        self.dead_letter_oldest_age_seconds = self._gauge(
            "dead_letter_oldest_age_seconds", "Age of the oldest of them; 0 if there is none.", "step"
        )
        self.dead_letter_redrives_total = self._counter(
            "dead_letter_redrives_total", "Dead letters sent again.", "error_class"
        )
        failing = set(ErrorClass) - {ErrorClass.NONE, ErrorClass.UNAVAILABLE}
        _at_zero(self.retry_queue_events, QUEUE_STATES)
        _at_zero(self.refused_rows, ROW_COLLECTIONS)
        _at_zero(self.retry_attempts_total, (RetryOutcome.COMPLETED,), (ErrorClass.NONE,))
        _at_zero(self.retry_attempts_total, (RetryOutcome.POSTPONED,), (ErrorClass.UNAVAILABLE,))
        _at_zero(self.retry_attempts_total, (RetryOutcome.FAILED, RetryOutcome.EXHAUSTED), failing)
        _at_zero(self.dead_letter_events, DEAD_LETTER_STEPS)
        _at_zero(self.dead_letter_oldest_age_seconds, DEAD_LETTER_STEPS)
        _at_zero(self.dead_letter_redrives_total, RejectReason)

    def describe_build(self, revision: str) -> None:
        """State version, source revision and interpreter; `revision` is "unknown" outside an image."""
        self.build_info.labels(__version__, revision, platform.python_version()).set(1)

    def prepare_topic(self, topic: str) -> None:
        """Create every series of a configured topic at 0. Partitions appear when they are assigned."""
        _at_zero(self.events_processed_total, (topic,), Outcome)
        for metric in (
            self.kafka_records_consumed_total,
            self.kafka_scalable_lag_records,
            self.kafka_assigned_partitions,
            self.kafka_paused_partitions,
            self.ingest_batch_events,
        ):
            _at_zero(metric, (topic,))

    def prepare_leases(self, names: Iterable[str]) -> None:
        """Create the series of leases this worker competes for at 0; partitions' leases have no series."""
        names = tuple(names)
        _at_zero(self.lease_held, names)
        _at_zero(self.lease_transitions_total, names)

    def forget_partition(self, topic: str, partition: int) -> None:
        """Remove a revoked partition's gauges: its lag is another worker's to report. May be called twice."""
        for gauge in (self.kafka_consumer_lag_records, self.kafka_consumer_lag_seconds):
            gauge.remove_by_labels({"topic": topic, "partition": str(partition)})


def _at_zero(metric: MetricWrapperBase, *label_sets: Iterable[str]) -> None:
    """Create the series of every combination of the closed label sets."""
    combinations: list[tuple[str, ...]] = [()]
    for labels in label_sets:
        values = tuple(labels)
        combinations = [(*head, value) for head in combinations for value in values]
    for combination in combinations:
        metric.labels(*combination)
