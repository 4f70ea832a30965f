"""From Kafka to the event store: what waits, what becomes of it, how long a batch takes, and who owns what."""

from dashboards.overview import OUTCOMES
from dashboards.panel import (
    NONE_IS_GOOD,
    SOME_ARE_WATCHED,
    Board,
    Colour,
    Query,
    Row,
    Unit,
    graph,
    number,
    rising,
)
from dashboards.promql import age, counted, mean, of_platform, of_workers, per_second, quantile

_NOW = Row(
    "Does ingest keep up?",
    (
        number(
            "Oldest unread record",
            "How long the oldest record of all partitions has been waiting.",
            Unit.SECONDS,
            f"max ({of_platform('kafka_consumer_lag_seconds')})",
            rising(30, 60),
            alert="KafkaLagHigh",
            empty="not known",
        ),
        number(
            "Partitions nobody owns",
            "Partitions of the topic less those that workers own. Some seconds of a rebalance are no harm.",
            Unit.COUNT,
            f"sum (max by (topic) ({of_platform('kafka_topic_partitions')})"
            f" - sum by (topic) ({of_platform('kafka_assigned_partitions')}))",
            NONE_IS_GOOD,
            alert="PartitionUnowned",
            empty="not known",
        ),
        number(
            "Open breakers",
            "Partitions that are paused because they hold mostly poison; they are probed now and then.",
            Unit.COUNT,
            f"sum ({of_workers('kafka_breaker_open_partitions')})",
            SOME_ARE_WATCHED,
            alert="PartitionPaused",
        ),
        number(
            "Dropped records",
            "Records without an outcome, in the time that is looked at. Anything but 0 is a defect.",
            Unit.COUNT,
            counted("events_dropped_total"),
            NONE_IS_GOOD,
            alert="EventsDropped",
        ),
        number(
            "Missing records",
            "Offsets that the group has read and the store does not hold, as after a restored backup: "
            "reingest them.",
            Unit.COUNT,
            f"sum ({of_workers('kafka_missing_records')})",
            NONE_IS_GOOD,
            alert="RecordsMissing",
        ),
        number(
            "Age of this knowledge",
            "Since Kafka last said where its partitions end: while it is silent, record counts stand still.",
            Unit.SECONDS,
            age(of_platform("kafka_lag_updated_timestamp_seconds")),
            rising(15, 60),
            alert="KafkaLagUnknown",
            empty="no answer yet",
        ),
    ),
)

_BACKLOG = Row(
    "The backlog",
    (
        graph(
            "Oldest unread record, by partition",
            "One line high: that partition is stuck or paused. All lines high: ingest, MongoDB or Kafka.",
            Unit.SECONDS,
            Query(
                f"max by (topic, partition) ({of_workers('kafka_consumer_lag_seconds')})",
                "{{topic}}/{{partition}}",
            ),
            limits=rising(30, 60),
            alert="KafkaLagHigh",
            empty="not known: no answer of Kafka yet",
        ),
        graph(
            "Records waiting, by partition",
            "Records behind the last durable offset.",
            Unit.RECORDS,
            Query(
                f"max by (topic, partition) ({of_workers('kafka_consumer_lag_records')})",
                "{{topic}}/{{partition}}",
            ),
            alert="KafkaLagGrowing",
            empty="not known: no answer of Kafka yet",
        ),
        graph(
            "Read, and for more workers",
            "Records read, and how many of those that wait more workers could read: the autoscaler's number.",
            Unit.COUNT,
            Query(per_second("kafka_records_consumed_total"), "read per second"),
            Query(f"sum ({of_workers('kafka_scalable_lag_records')})", "waiting for more workers"),
        ),
    ),
)

_OUTCOMES = Row(
    "What becomes of the records",
    (
        graph(
            "Records by outcome",
            "Green alone is as it should be. Redelivered: read a second time after a restart. Duplicate: the "
            "producer sent it twice. Conflict: another event under the same id.",
            Unit.PER_SECOND,
            Query(per_second("events_processed_total", by=("outcome",)), "{{outcome}}"),
            colours=OUTCOMES,
            stacked=True,
        ),
        graph(
            "Dead letters by reason",
            "Records that cannot become events, by the rule that they broke; their bytes are kept.",
            Unit.PER_SECOND,
            Query(f"{per_second('dead_lettered_events_total', by=('error_class',))} > 0", "{{error_class}}"),
            alert="DeadLetterBurst",
            empty="none in this time",
        ),
        graph(
            "Read, and without an outcome yet",
            "Records in hand. It follows the size of a batch; a line that only rises is a defect.",
            Unit.RECORDS,
            Query(
                f"clamp_min(sum by (instance) ({of_workers('kafka_records_consumed_total')})"
                f" - sum by (instance) ({of_workers('events_processed_total')}), 0)",
                "{{instance}}",
            ),
            alert="AccountingBroken",
        ),
    ),
)

_BATCHES = Row(
    "Where the time of a batch goes",
    (
        graph(
            "Time by stage, 99 of 100",
            "Of one batch. The event store and the time series wait for MongoDB, the commit for Kafka.",
            Unit.SECONDS,
            Query(quantile(0.99, "ingest_stage_duration_seconds", by=("stage",)), "{{stage}}"),
            limits=rising(5, 30),
        ),
        graph(
            "Records in a batch, on average",
            "Batches grow with the backlog: large ones are no trouble, small ones under a backlog are.",
            Unit.RECORDS,
            Query(mean("ingest_batch_events"), "records"),
        ),
        graph(
            "Lateness of events",
            "From what happened to its record in Kafka: a learner's device was offline, or a producer is "
            "behind. Not the worker's doing.",
            Unit.SECONDS,
            Query(quantile(0.5, "event_lateness_seconds"), "half"),
            Query(quantile(0.99, "event_lateness_seconds"), "99 %"),
        ),
    ),
)

_MEMBERS = Row(
    "Owners, memory and ends",
    (
        graph(
            "Partitions by worker",
            "Owned, and of these paused ones.",
            Unit.COUNT,
            Query(f"sum by (instance) ({of_workers('kafka_assigned_partitions')})", "{{instance}} owns"),
            Query(
                f"sum by (instance) ({of_workers('kafka_paused_partitions')}) > 0", "{{instance}} has paused"
            ),
            alert="PartitionUnowned",
        ),
        graph(
            "Rebalances and gaps",
            "Partitions given and taken, and gaps recorded in the log, per second. Rebalances again and "
            "again: a worker that dies, or a session time-out that is too short.",
            Unit.PER_SECOND,
            Query(per_second("kafka_rebalances_total", by=("kind",)), "{{kind}}"),
            Query(f"{per_second('gap_records_total', by=('reason',))} > 0", "gap: {{reason}}"),
            alert="RebalanceStorm",
        ),
        graph(
            "Memory in hand, of the limit",
            "Bytes held by each stage; at 100 % reading pauses.",
            Unit.SHARE,
            Query(
                f"max by (instance, stage) ({of_workers('buffer_bytes')})"
                f" / (max by (instance, stage) ({of_workers('buffer_limit_bytes')}) > 0)",
                "{{stage}} of {{instance}}",
            ),
            limits=rising(0.7, 0.9),
            alert="BufferNearLimit",
            most=1,
        ),
        graph(
            "Drains, 99 of 100",
            "From the order to stop, or to give partitions back, until all is done; and what the settings "
            "allow.",
            Unit.SECONDS,
            Query(quantile(0.99, "drain_duration_seconds", by=("cause",)), "{{cause}}"),
            Query(f"max ({of_workers('drain_budget_seconds')})", "allowed"),
            alert="DrainOverBudget",
            width=8,
        ),
        graph(
            "Fenced writes and filled holes",
            "Writes refused because another worker owns the partition now, and voids stored for versions "
            "that were taken and never written. A few follow a crash or a frozen process.",
            Unit.PER_SECOND,
            Query(per_second("fenced_writes_total", by=("component",)), "fenced: {{component}}"),
            Query(per_second("version_holes_filled_total"), "holes filled"),
            alert="FencedWrites",
        ),
        graph(
            "MongoDB commands, 99 of 100",
            "By operation, seen from the workers; `getMore` of change streams waits for news by itself.",
            Unit.SECONDS,
            Query(quantile(0.99, "mongodb_operation_duration_seconds", by=("operation",)), "{{operation}}"),
            limits=rising(0.5, 2),
        ),
    ),
)

_MONGODB = Row(
    "MongoDB, seen from the workers",
    (
        graph(
            "Failed commands by collection",
            "Refusals and network errors.",
            Unit.PER_SECOND,
            Query(f"{per_second('mongodb_failed_commands_total', by=('collection',))} > 0", "{{collection}}"),
            alert="DependencyDown",
            empty="none in this time",
            width=6,
        ),
        graph(
            "Slow commands by collection",
            "Of a second or more, waits of change streams left out.",
            Unit.PER_SECOND,
            Query(f"{per_second('mongodb_slow_commands_total', by=('collection',))} > 0", "{{collection}}"),
            empty="none in this time",
            width=6,
        ),
        graph(
            "Repeated operations by reason",
            "Write conflicts under load are normal; network, time-outs and a lost primary are not.",
            Unit.PER_SECOND,
            Query(f"{per_second('mongodb_retries_total', by=('reason',))} > 0", "{{reason}}"),
            colours={"write_conflict": Colour.PLAIN, "network": Colour.BAD, "timeout": Colour.BAD},
            empty="none in this time",
            width=6,
        ),
        graph(
            "Disk of MongoDB",
            "How full the disk of the data is, as MongoDB tells it. mongod ends when it is full.",
            Unit.SHARE,
            Query(
                f"max ({of_platform('mongodb_disk_used_bytes')}) / max ({of_platform('mongodb_disk_size_bytes')})",
                "used",
            ),
            limits=rising(0.8, 0.92),
            alert="MongodbDiskFilling",
            empty="not known: MongoDB does not tell, or no worker holds the exporter's lease",
            most=1,
            width=6,
        ),
    ),
)

BOARD = Board(
    "ingest",
    "7P worker: ingest",
    "From Kafka to the event store: what waits, what becomes of it, where the time goes, and who owns what.",
    (_NOW, _BACKLOG, _OUTCOMES, _BATCHES, _MEMBERS, _MONGODB),
)
