"""Every metric of the worker, in one place: its name, its labels, and the closed sets its labels come from.

An attribute has its metric's name without the prefix `sevenp_worker_`. Units are base units: seconds, bytes.
Labels never carry a learner, stream, event, course or lesson. Label values known in advance exist at 0 from
the start, else `increase()` would miss the first event; `partition` stands only on the two lag gauges and is
removed when the partition is revoked.
"""

import platform
from collections.abc import Iterable, Mapping
from enum import StrEnum
from itertools import product
from typing import Any, Generic, TypeVar

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


class ScheduledOutcome(StrEnum):
    """How a run ended that the scheduler started."""

    SUCCEEDED = "succeeded"
    DIFFERENCE = "difference"  # done, and something was found to be wrong
    FAILED = "failed"
    CANCELLED = "cancelled"


class MisfireReason(StrEnum):
    """Why a firing of the schedule was dropped."""

    MISSED = "missed"  # nobody could start it in time
    OVERLAP = "overlap"  # the run before went on


# Who holds something bounded or fenced, who follows a change stream, what is projected.
COMPONENTS = ("ingest", "progress", "counts", "notify")
WATCHERS = ("progress", "counts")
# Who follows what read models are made from, where there are any.
MODELS = ("models",)
# The steps that make dead letters, and the states of what is tried again.
DEAD_LETTER_STEPS = ("ingest",)
# What a scrubber's findings are about.
DRIFT_PARTS = ("events", "time_series", "documents", "sums", "notifications", "billing", "other")
QUEUE_STATES = ("pending", "processing", "completed", "failed")
ROW_COLLECTIONS = ("notifications", "billing_transactions")
# Entries that run, and those that cannot.
ENTRY_STATES = ("running", "refused")
NOTIFICATION_KINDS = ("welcome", "completion")


M = TypeVar("M", bound=MetricWrapperBase)
_Values = Iterable[str]
# The values of a label of which nothing exists beforehand, and of one whose closed set the catalogue decides.
ANY: _Values = ()
CATALOGUED: _Values = ("as the catalogue says",)


class _Declared(Generic[M]):
    """A metric of `Metrics`, which makes one of it for each registry: help text, and labels with their values."""

    def __init__(self, kind: type[M], help_text: str, labels: Mapping[str, _Values], **options: Any) -> None:
        self._kind, self._help, self._labels, self._options = kind, help_text, labels, options

    def __get__(self, metrics: object, owner: type) -> M:
        """What the attribute holds in an instance, which has the metric under the same name."""
        raise AttributeError("only an instance of Metrics has metrics")

    def made(self, name: str, registry: CollectorRegistry, catalogued: Mapping[str, _Values]) -> M:
        """The metric, with a series at 0 for every combination of closed sets; `catalogued` are some, by label."""
        metric = self._kind(
            name, self._help, self._labels, namespace=PREFIX, registry=registry, **self._options
        )
        if self._labels:
            sets = (catalogued[label] if of is CATALOGUED else of for label, of in self._labels.items())
            _at_zero(metric, *sets)
        return metric


def _counter(help_text: str, **labels: _Values) -> _Declared[Counter]:
    return _Declared(Counter, help_text, labels)


def _gauge(help_text: str, **labels: _Values) -> _Declared[Gauge]:
    return _Declared(Gauge, help_text, labels)


def _histogram(help_text: str, buckets: tuple[float, ...], **labels: _Values) -> _Declared[Histogram]:
    return _Declared(Histogram, help_text, labels, buckets=buckets)


class Metrics:
    """All metrics on one registry; a registry of its own unless one is given. `catalogue` names the projections."""

    # Process
    build_info = _gauge("Always 1.", version=ANY, revision=ANY, python=ANY)
    component_up = _gauge("1 while the component moves.", component=ANY)
    component_last_progress_timestamp_seconds = _gauge(
        "Unix time of the component's last progress.", component=ANY
    )
    drain_duration_seconds = _histogram(
        "From the order to stop until all is done.", DRAIN_BUCKETS_S, cause=DrainCause
    )
    buffer_bytes = _gauge("Bytes held in memory.", stage=COMPONENTS)
    buffer_limit_bytes = _gauge("Where reading pauses.", stage=COMPONENTS)

    # Kafka
    kafka_records_consumed_total = _counter("Records read, each once per reading.", topic=ANY)
    kafka_consumer_lag_records = _gauge("End offset minus durable offset.", topic=ANY, partition=ANY)
    kafka_consumer_lag_seconds = _gauge(
        "Age of the oldest unread record; 0 if none.", topic=ANY, partition=ANY
    )
    kafka_scalable_lag_records = _gauge("Lag without paused partitions, for autoscaling.", topic=ANY)
    kafka_assigned_partitions = _gauge("Partitions this worker owns.", topic=ANY)
    kafka_missing_records = _gauge(
        "Offsets of owned partitions that the group has read and the store does not hold: reingest them.",
        topic=ANY,
    )
    kafka_paused_partitions = _gauge("Owned partitions that are not read at the moment.", topic=ANY)
    kafka_rebalances_total = _counter("Assignments and revocations.", kind=RebalanceKind)
    gap_records_total = _counter("Gaps recorded in the log.", reason=GapReason)

    # Ingest
    events_processed_total = _counter(
        "Records by outcome; sums up to those consumed.", topic=ANY, outcome=Outcome
    )
    events_dropped_total = _counter("Records consumed that have no outcome. Stays 0.", reason=DropReason)
    ingest_stage_duration_seconds = _histogram(
        "Time of one batch in one stage.", DURATION_BUCKETS_S, stage=Stage
    )
    ingest_batch_events = _histogram("Records per batch.", BATCH_BUCKETS, topic=ANY)
    event_lateness_seconds = _histogram("From what happened to its record in Kafka.", LATENESS_BUCKETS_S)
    dead_lettered_events_total = _counter(
        "Records that became dead letters, with their bytes.", error_class=RejectReason
    )
    fenced_writes_total = _counter("Writes refused because a newer owner exists.", component=COMPONENTS)
    version_holes_filled_total = _counter("Voids stored in streams.")

    # MongoDB
    mongodb_operation_duration_seconds = _histogram(
        "Time of one command, seen from the client.", MONGODB_BUCKETS_S, operation=ANY, collection=ANY
    )
    mongodb_retries_total = _counter("Operations repeated.", reason=RetryReason)
    lease_held = _gauge("1 while this worker holds the lease.", lease=ANY)
    lease_transitions_total = _counter("Times this worker took or lost the lease.", lease=ANY)

    # Watch
    change_stream_events_total = _counter("Changes seen.", watcher=CATALOGUED)
    change_stream_lag_seconds = _gauge("Age of the position in the change stream.", watcher=ANY)
    change_stream_oplog_headroom_seconds = _gauge("Time until our position leaves the oplog.", watcher=ANY)
    change_stream_last_heartbeat_timestamp_seconds = _gauge("Unix time of the last answer.", watcher=ANY)
    change_stream_restarts_total = _counter(
        "Change streams opened again.", watcher=CATALOGUED, reason=RestartReason
    )
    projection_events_applied_total = _counter(
        "Events met by a fold.", projection=CATALOGUED, mode=Mode, outcome=Applied
    )
    projection_frozen_streams = _gauge(
        "Streams met here whose document a newer release made: they stand still.", projection=CATALOGUED
    )
    projection_freshness_seconds = _histogram(
        "From event stored to visible.", FRESHNESS_BUCKETS_S, projection=CATALOGUED
    )

    # Retry
    retry_queue_events = _gauge("Queue items of the whole platform by state.", state=QUEUE_STATES)
    retry_oldest_age_seconds = _gauge("Age of the oldest item that is not completed; 0 if there is none.")
    retry_blocked_streams = _gauge("Streams with an item that is not completed.")
    refused_rows = _gauge(
        "Rows of outbox and billing that the server refuses; they wait.", collection=ROW_COLLECTIONS
    )
    skipped_events_total = _counter(
        "Events given up by themselves, after all attempts at their folds.", projection=CATALOGUED
    )
    retry_attempts_total = _counter("Attempts by what they made of the item.", outcome=ANY, error_class=ANY)
    dead_letter_events = _gauge("Dead letters that nobody has acted upon.", step=DEAD_LETTER_STEPS)
    dead_letter_oldest_age_seconds = _gauge(
        "Age of the oldest of them; 0 if there is none.", step=DEAD_LETTER_STEPS
    )
    dead_letter_redrives_total = _counter("Dead letters sent again.", error_class=RejectReason)

    # Scrubber
    drift_findings = _gauge(
        "What the last whole walk of the scrubber found and did not mend, or the one under way where it is more.",
        kind=DRIFT_PARTS,
    )
    drift_checked_timestamp_seconds = _gauge("Unix time when it had checked everything last; 0 if never.")

    # Notify
    notifications_total = _counter(
        "Notifications by what became of them.", kind=NOTIFICATION_KINDS, outcome=NotificationOutcome
    )
    outbox_pending_events = _gauge("Notifications still to be sent, of the whole platform.")
    outbox_oldest_age_seconds = _gauge("Age of the oldest of them; 0 if there is none.")

    # Schedule
    scheduled_entries = _gauge("Entries of the schedule.", state=ENTRY_STATES)
    scheduled_job_runs_total = _counter(
        "Runs that this scheduler started.", job=ANY, outcome=ScheduledOutcome
    )
    scheduled_job_misfires_total = _counter("Firings that were dropped.", job=ANY, reason=MisfireReason)
    scheduled_job_interval_seconds = _gauge(
        "Longest time between the next firings of a job in the schedule.", job=ANY
    )
    scheduled_job_last_success_timestamp_seconds = _gauge(
        "Unix time at which the job succeeded last, whoever started it; 0 for never.", job=ANY
    )

    def __init__(self, registry: CollectorRegistry | None = None, catalogue: Catalogue = CATALOGUE) -> None:
        # `_created` series double the number of counters and answer no question of ours.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry if registry is not None else CollectorRegistry()
        ProcessCollector(registry=self.registry)
        watchers = (*WATCHERS, *(MODELS if catalogue.models else ()))
        catalogued = {"projection": catalogue.names, "watcher": watchers}
        for name, declared in vars(Metrics).items():
            if isinstance(declared, _Declared):
                setattr(self, name, declared.made(name, self.registry, catalogued))
        # Which class an attempt may have depends on what came of it.
        failing = set(ErrorClass) - {ErrorClass.NONE, ErrorClass.UNAVAILABLE}
        _at_zero(self.retry_attempts_total, (RetryOutcome.COMPLETED,), (ErrorClass.NONE,))
        _at_zero(self.retry_attempts_total, (RetryOutcome.POSTPONED,), (ErrorClass.UNAVAILABLE,))
        _at_zero(self.retry_attempts_total, (RetryOutcome.FAILED, RetryOutcome.EXHAUSTED), failing)

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
            self.kafka_missing_records,
            self.kafka_paused_partitions,
            self.ingest_batch_events,
        ):
            _at_zero(metric, (topic,))

    def prepare_leases(self, names: Iterable[str]) -> None:
        """Create the series of leases this worker competes for at 0; partitions' leases have no series."""
        names = tuple(names)
        _at_zero(self.lease_held, names)
        _at_zero(self.lease_transitions_total, names)

    def prepare_jobs(self, names: Iterable[str]) -> None:
        """Create the series of jobs that a scheduler may start at 0."""
        names = tuple(names)
        _at_zero(self.scheduled_job_runs_total, names, ScheduledOutcome)
        _at_zero(self.scheduled_job_misfires_total, names, MisfireReason)
        _at_zero(self.scheduled_job_last_success_timestamp_seconds, names)

    def forget_partition(self, topic: str, partition: int) -> None:
        """Remove a revoked partition's gauges: its lag is another worker's to report. May be called twice."""
        for gauge in (self.kafka_consumer_lag_records, self.kafka_consumer_lag_seconds):
            gauge.remove_by_labels({"topic": topic, "partition": str(partition)})


def _at_zero(metric: MetricWrapperBase, *label_sets: Iterable[str]) -> None:
    """Create the series of every combination of the closed label sets."""
    for combination in product(*label_sets):
        metric.labels(*combination)
