"""Every metric of the worker, in one place: its name and its labels, whose closed sets are in `labels.py`.

An attribute has its metric's name without the prefix `sevenp_worker_`. Units are base units: seconds, bytes.
Labels never carry a learner, stream, event, course or lesson. Label values known in advance exist at 0 from
the start, else `increase()` would miss the first event. What is not known has no series: 0 would be a statement.
`partition` stands only on the two lag gauges, and only for partitions that this worker owns. The help texts are
the page docs/metrics.md (`python -m worker.telemetry.metrics_page` writes it).
"""

import platform
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from projections.catalogue import CATALOGUE
from projections.kinds import Catalogue
from worker import __version__
from worker.contract.family import LEARNER
from worker.contract.gaps import GapReason
from worker.contract.rejection import RejectReason
from worker.telemetry.declared import ANY, CATALOGUED, Declared, MaybeGauge, Values, at_zero
from worker.telemetry.labels import (
    COMPONENTS,
    ENTRY_STATES,
    MODELS,
    NOTIFICATION_KINDS,
    OPERATIONS,
    OTHER,
    PAUSABLE,
    WATCHERS,
    Applied,
    DrainCause,
    DropReason,
    ErrorClass,
    MisfireReason,
    Mode,
    NotificationOutcome,
    Outcome,
    RebalanceKind,
    RestartReason,
    RetryOutcome,
    RetryReason,
    ScheduledOutcome,
    Stage,
)

PREFIX = "sevenp_worker"

# From one statement on a warm server (2 ms) to the longest wait an operator tolerates in a stage.
DURATION_BUCKETS_S = (0.002, 0.02, 0.1, 0.5, 2, 30)
# From one statement on a warm server to where the driver gives up.
MONGODB_BUCKETS_S = (0.005, 0.02, 0.1, 0.5, 2, 10)
# A batch in Python takes some 20 ms; a probe is missed after seconds.
LOOP_DELAY_BUCKETS_S = (0.01, 0.05, 0.25, 1, 5)
# A receiver has 10 s by default.
SEND_BUCKETS_S = (0.05, 0.25, 1, 5, 10)
# A batch grows from one record to 5,000, or what the settings say.
BATCH_BUCKETS = (1, 10, 100, 1_000, 5_000, 20_000)
# A learner's device can be offline for days: seconds, minutes, an hour, a day, a week.
LATENESS_BUCKETS_S = (1, 60, 600, 3_600, 86_400, 604_800)
# Alert at 30 s; the goal is below a second.
FRESHNESS_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
# The drain deadline defaults to 20 s.
DRAIN_BUCKETS_S = (0.5, 2.5, 10, 20, 60)
# Half a second where all is well; the objective is a minute, the alert is after three.
CANARY_BUCKETS_S = (0.25, 0.5, 1, 2.5, 5, 10, 60, 180, 600)

_BY_ONE = " By the holder of the lease of `retry` only."


def _counter(help_text: str, **labels: Values) -> Declared[Counter]:
    return Declared(PREFIX, Counter, help_text, labels)


def _gauge(help_text: str, **labels: Values) -> Declared[Gauge]:
    return Declared(PREFIX, Gauge, help_text, labels)


def _maybe(help_text: str) -> Declared[MaybeGauge]:
    """A gauge that has no series while nobody knows its value; one with labels has none by itself."""
    return Declared(PREFIX, MaybeGauge, help_text, {})


def _histogram(help_text: str, buckets: tuple[float, ...], **labels: Values) -> Declared[Histogram]:
    return Declared(PREFIX, Histogram, help_text, labels, buckets=buckets)


class Metrics:
    """All metrics on one registry; a registry of its own unless one is given. `catalogue` names the projections."""

    # Process
    build_info = _gauge("Always 1.", version=ANY, revision=ANY, python=ANY)
    component_up = _gauge("1 while the component moves.", component=ANY)
    component_last_progress_timestamp_seconds = _gauge(
        "Unix time of the component's last progress.", component=ANY
    )
    dependency_up = _gauge(
        "1 while it answers, as `/readyz` says; `start` is 0 until the start checks have passed.",
        dependency=ANY,
    )
    drain_duration_seconds = _histogram(
        "From the order to stop until all is done.", DRAIN_BUCKETS_S, cause=DrainCause
    )
    drain_budget_seconds = _maybe("How long a drain may take by the settings.")
    event_loop_delay_seconds = _histogram(
        "How much later than asked for a task was woken, once a second.", LOOP_DELAY_BUCKETS_S
    )
    buffer_bytes = _gauge("Bytes held in memory.", stage=COMPONENTS)
    buffer_limit_bytes = _gauge("Where reading pauses.", stage=COMPONENTS)

    # Kafka
    kafka_records_consumed_total = _counter("Records read, each once per reading.", topic=ANY)
    kafka_topic_partitions = _gauge("Partitions the topic has; absent until Kafka has told.", topic=ANY)
    kafka_assigned_partitions = _gauge("Partitions this worker owns.", topic=ANY)
    kafka_consumer_lag_records = _gauge(
        "End of the log, asked for every few seconds, minus durable offset. Of owned partitions; absent until "
        "Kafka has answered, the last one known while it is silent.",
        topic=ANY,
        partition=ANY,
    )
    kafka_consumer_lag_seconds = _gauge(
        "Age of the oldest record that is not durable; 0 if none. It grows with the clock, whoever is silent.",
        topic=ANY,
        partition=ANY,
    )
    kafka_scalable_lag_records = _gauge(
        "Lag without paused partitions, for autoscaling; absent until it is known.", topic=ANY
    )
    kafka_lag_updated_timestamp_seconds = _gauge(
        "Unix time of Kafka's last answer about the ends of the log; absent before the first.", topic=ANY
    )
    kafka_missing_records = _gauge(
        "Offsets of owned partitions that the group has read and the store does not hold: reingest them.",
        topic=ANY,
    )
    kafka_paused_partitions = _gauge("Owned partitions that are not read at the moment.", topic=ANY)
    kafka_breaker_open_partitions = _gauge(
        "Owned partitions that are paused because they hold mostly poison.", topic=ANY
    )
    kafka_rebalances_total = _counter("Assignments and revocations.", kind=RebalanceKind)
    gap_records_total = _counter("Gaps recorded in the log.", reason=GapReason)

    # Ingest
    events_processed_total = _counter(
        "Records by outcome; sums up to those consumed.", topic=ANY, outcome=Outcome
    )
    events_dropped_total = _counter(
        "Records consumed that have no outcome. Stays 0: anything else is a defect, and the log "
        "(`records_dropped`) has their positions.",
        reason=DropReason,
    )
    ingest_stage_duration_seconds = _histogram(
        "Time of one batch in one stage.", DURATION_BUCKETS_S, stage=Stage
    )
    ingest_batch_events = _histogram("Records per batch, of all topics.", BATCH_BUCKETS)
    event_lateness_seconds = _histogram("From what happened to its record in Kafka.", LATENESS_BUCKETS_S)
    dead_lettered_events_total = _counter(
        "Records that became dead letters, with their bytes.", error_class=RejectReason
    )
    fenced_writes_total = _counter("Writes refused because a newer owner exists.", component=COMPONENTS)
    version_holes_filled_total = _counter("Voids stored in streams.")

    # MongoDB
    mongodb_operation_duration_seconds = _histogram(
        "Time of one command, seen from the client; rare commands are `other`.",
        MONGODB_BUCKETS_S,
        operation=OPERATIONS,
    )
    mongodb_failed_commands_total = _counter(
        "Commands that failed, seen from the client; what is on no collection of ours is `other`.",
        collection=ANY,
    )
    mongodb_slow_commands_total = _counter(
        "Commands that took a second or more, but for a change stream's waiting.", collection=ANY
    )
    mongodb_retries_total = _counter("Operations repeated.", reason=RetryReason)
    lease_held = _gauge("1 while this worker holds the lease.", lease=ANY)
    lease_transitions_total = _counter("Times this worker took or lost a lease of this watcher.", watcher=ANY)

    # Watch
    change_stream_events_total = _counter("Changes seen.", watcher=CATALOGUED)
    change_stream_lag_seconds = _gauge(
        "Age of the position in the change stream; like the next two absent while none is followed.",
        watcher=ANY,
    )
    change_stream_oplog_headroom_seconds = _gauge("Time until our position leaves the oplog.", watcher=ANY)
    change_stream_last_heartbeat_timestamp_seconds = _gauge("Unix time of the last answer.", watcher=ANY)
    change_stream_restarts_total = _counter(
        "Change streams opened again.", watcher=CATALOGUED, reason=RestartReason
    )
    projection_events_applied_total = _counter(
        "Events met by a fold.", projection=CATALOGUED, mode=ANY, outcome=Applied
    )
    projection_events_without_effect_total = _counter(
        "Events that a document began to list as without effect, by why: wrong only beside others of their stream.",
        projection=ANY,
        reason=ANY,
    )
    projection_frozen_streams = _gauge(
        "Streams met here whose document a newer release made: they stand still.", projection=ANY
    )
    contest_lost_documents = _gauge(
        "Documents that do not have what they ask for, because another has it; by the worker that decides.",
        projection=ANY,
    )
    projection_freshness_seconds = _histogram(
        "From event stored to visible; projections that are not about learners are `other`.",
        FRESHNESS_BUCKETS_S,
        projection=ANY,
    )

    # Retry; what is of the whole platform is shown by the one worker that holds the lease of `retry`.
    retry_queue_events = _gauge(
        "Queue items of the whole platform by state, without those that only say who has lost a contest."
        f"{_BY_ONE}",
        state=ANY,
    )
    retry_oldest_age_seconds = _maybe(
        f"Age of the oldest item that is not completed; 0 if there is none.{_BY_ONE}"
    )
    retry_blocked_streams = _maybe(f"Streams with an item that is not completed.{_BY_ONE}")
    refused_rows = _gauge(
        f"Rows of outbox and billing that the server refuses; they wait.{_BY_ONE}", collection=ANY
    )
    skipped_events_total = _counter(
        "Events given up by themselves, after all attempts at their folds.", projection=ANY
    )
    retry_attempts_total = _counter("Attempts by what they made of the item.", outcome=ANY, error_class=ANY)
    dead_letter_events = _gauge(f"Dead letters that nobody has acted upon.{_BY_ONE}", step=ANY)
    dead_letter_oldest_age_seconds = _gauge(
        f"Age of the oldest of them; 0 if there is none.{_BY_ONE}", step=ANY
    )
    dead_letter_redrives_total = _counter("Dead letters sent again.")
    depths_updated_timestamp_seconds = _maybe(
        f"Unix time at which what is of the whole platform was measured last.{_BY_ONE}"
    )
    mongodb_disk_used_bytes = _maybe(f"Bytes in use on the disk of MongoDB's data, by anybody.{_BY_ONE}")
    mongodb_disk_size_bytes = _maybe(f"Size of that disk; absent where MongoDB does not tell.{_BY_ONE}")

    # Jobs
    drift_findings = _gauge(
        "What the last whole walk of the scrubber found and did not mend, or the one under way where it is "
        f"more.{_BY_ONE}",
        kind=ANY,
    )
    drift_checked_timestamp_seconds = _maybe(
        f"Unix time when it had checked everything last; absent if never.{_BY_ONE}"
    )
    projection_drift_documents_total = _counter(
        "What the scrubber found of this projection that is not what follows from its events, as it finds it.",
        projection=CATALOGUED,
    )
    replay_progress_ratio = _gauge(
        f"Share of its work that the rebuild under way has done; absent without one.{_BY_ONE}", job=ANY
    )
    replay_remaining_streams = _gauge(
        f"Streams that the rebuild under way has still to do; absent without one.{_BY_ONE}", job=ANY
    )

    # Notify
    notifications_total = _counter(
        "Notifications by what became of them.", kind=NOTIFICATION_KINDS, outcome=NotificationOutcome
    )
    notification_send_duration_seconds = _histogram(
        "Time a receiver took for one notification, whatever it answered.", SEND_BUCKETS_S, channel=ANY
    )
    outbox_pending_events = _maybe(f"Notifications still to be sent, of the whole platform.{_BY_ONE}")
    outbox_oldest_age_seconds = _maybe(f"Age of the oldest of them; 0 if there is none.{_BY_ONE}")

    # Control
    paused = _gauge("What operators have paused: 1 for a role, of the others how many.", what=PAUSABLE)
    control_ignored_settings = _gauge("Our documents in system_settings that make no sense.")
    control_last_read_timestamp_seconds = _gauge("Unix time at which they were read last; 0 for never.")

    # Schedule
    scheduled_entries = _gauge(
        "Entries of the schedule: those that are running, and those that were refused.", state=ENTRY_STATES
    )
    scheduled_job_runs_total = _counter(
        "Runs that this scheduler started.", job=ANY, outcome=ScheduledOutcome
    )
    scheduled_job_misfires_total = _counter(
        "Firings that were dropped: missed, or over a run that went on.", job=ANY, reason=MisfireReason
    )
    scheduled_job_interval_seconds = _gauge(
        "Longest time between the next firings of a job in the schedule.", job=ANY
    )
    scheduled_job_last_success_timestamp_seconds = _gauge(
        "Unix time at which the job succeeded last, whoever started it; 0 for never.", job=ANY
    )

    # Canary
    canary_latency_seconds = _histogram(
        "From making an event of the canary to its document showing it.", CANARY_BUCKETS_S
    )
    canary_last_success_timestamp_seconds = _maybe(
        "Unix time at which an event of the canary was visible last. By the worker that sends it."
    )

    def __init__(self, registry: CollectorRegistry | None = None, catalogue: Catalogue = CATALOGUE) -> None:
        # `_created` series double the number of counters and answer no question of ours.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry if registry is not None else CollectorRegistry()
        ProcessCollector(registry=self.registry)
        watchers = (*WATCHERS, *(MODELS if catalogue.models or catalogue.contests else ()))
        catalogued = {"projection": catalogue.names, "watcher": watchers}
        for name, declared in declared_metrics().items():
            setattr(self, name, declared.made(name, self.registry, catalogued))
        at_zero(self.contest_lost_documents, [each.name for each in catalogue.contests])
        # Only folds give events up, and only what reads events or their documents can be too old for these.
        folds = [each.name for each in catalogue.streams]
        at_zero(self.skipped_events_total, folds)
        at_zero(self.projection_frozen_streams, [*folds, *(each.name for each in catalogue.sums)])
        # Of what is not about learners there will be many: so many series that each of them gets few.
        self._of_learners = frozenset(_of_learners(catalogue))
        at_zero(self.projection_freshness_seconds, (*self._of_learners, OTHER))
        foremost = (Applied.APPLIED, Applied.FAILED)
        at_zero(self.projection_events_applied_total, catalogue.names, (Mode.LIVE,), foremost)
        at_zero(self.projection_events_applied_total, self._of_learners, Mode, Applied)
        for each in catalogue.streams:
            at_zero(self.projection_events_without_effect_total, (each.name,), each.reasons)
        # Which class an attempt may have depends on what came of it.
        failing = set(ErrorClass) - {ErrorClass.NONE, ErrorClass.UNAVAILABLE}
        at_zero(self.retry_attempts_total, (RetryOutcome.COMPLETED,), (ErrorClass.NONE,))
        at_zero(self.retry_attempts_total, (RetryOutcome.POSTPONED,), (ErrorClass.UNAVAILABLE,))
        at_zero(self.retry_attempts_total, (RetryOutcome.FAILED, RetryOutcome.EXHAUSTED), failing)

    def freshness_of(self, projection: str) -> Histogram:
        """How long what the projection shows took to be seen."""
        return self.projection_freshness_seconds.labels(
            projection if projection in self._of_learners else OTHER
        )

    def describe_build(self, revision: str) -> None:
        """State version, source revision and interpreter; `revision` is "unknown" outside an image."""
        self.build_info.labels(__version__, revision, platform.python_version()).set(1)

    def prepare_topic(self, topic: str) -> None:
        """Create the series of a topic that is read at 0, but for what nobody knows yet: its partitions and its lag.

        May be called twice. A topic that is not there yet is prepared as soon as it is.
        """
        at_zero(self.events_processed_total, (topic,), Outcome)
        for metric in (
            self.kafka_records_consumed_total,
            self.kafka_assigned_partitions,
            self.kafka_missing_records,
            self.kafka_paused_partitions,
            self.kafka_breaker_open_partitions,
        ):
            at_zero(metric, (topic,))

    def prepare_collections(self, names: Iterable[str]) -> None:
        """Create the series of collections whose commands are counted at 0."""
        names = tuple(names)
        at_zero(self.mongodb_failed_commands_total, names)
        at_zero(self.mongodb_slow_commands_total, names)

    def prepare_leases(self, names: Iterable[str]) -> None:
        """Create the series of leases this worker competes for at 0; partitions' leases have no series.

        They are called `progress:00`: before the colon stands the watcher.
        """
        names = tuple(names)
        at_zero(self.lease_held, names)
        at_zero(self.lease_transitions_total, {name.partition(":")[0] for name in names})

    def prepare_jobs(self, names: Iterable[str]) -> None:
        """Create the series of jobs that a scheduler may start at 0."""
        names = tuple(names)
        at_zero(self.scheduled_job_runs_total, names, ScheduledOutcome)
        at_zero(self.scheduled_job_misfires_total, names, MisfireReason)
        at_zero(self.scheduled_job_last_success_timestamp_seconds, names)

    def forget_partition(self, topic: str, partition: int) -> None:
        """Remove a revoked partition's gauges: its lag is another worker's to report. May be called twice."""
        for gauge in (self.kafka_consumer_lag_records, self.kafka_consumer_lag_seconds):
            gauge.remove_by_labels({"topic": topic, "partition": str(partition)})

    def forget_watcher(self, watcher: str) -> None:
        """Remove what a watcher shows of its change stream: it follows none. May be called twice."""
        for gauge in (
            self.change_stream_lag_seconds,
            self.change_stream_oplog_headroom_seconds,
            self.change_stream_last_heartbeat_timestamp_seconds,
        ):
            gauge.remove_by_labels({"watcher": watcher})


def declared_metrics() -> dict[str, Declared[Any]]:
    """Every metric by its name without the prefix, in the order in which they stand above."""
    return {name: each for name, each in vars(Metrics).items() if isinstance(each, Declared)}


def _of_learners(catalogue: Catalogue) -> Iterator[str]:
    """The projections of learners' streams, and the sums of their documents."""
    streams = {each.name for each in catalogue.streams if each.about == LEARNER}
    yield from streams
    yield from (each.name for each in catalogue.sums if each.source in streams)
