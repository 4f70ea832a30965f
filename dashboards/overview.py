"""The first dashboard that somebody opens: whether learners are served, and if not, what is away."""

from dashboards.panel import (
    ANSWERS,
    FIRES,
    MOVES,
    ONE_IS_ENOUGH,
    SOME_ARE_WATCHED,
    Board,
    Colour,
    Limits,
    Query,
    Row,
    Unit,
    falling,
    graph,
    number,
    rising,
    timeline,
)
from dashboards.promql import (
    PLATFORM,
    SOME_TIME,
    WORKERS,
    age,
    behind,
    of_platform,
    of_workers,
    per_second,
    quantile,
)

OUTCOMES = {
    "stored": Colour.GOOD,
    "dead_lettered": Colour.BAD,
    "conflict": Colour.WATCH,
}


def _burn_rate(window: str) -> str:
    """How many times too fast the error budgets are used up, in the worst deployment."""
    bad, objective = f"sevenp_worker:slo_bad:avg{window}", "sevenp_worker:slo_objective"
    return f"max by (slo) ({bad}{{{PLATFORM}}} / (1 - {objective}{{{PLATFORM}}}))"


_SERVED = Row(
    "Are learners served?",
    (
        number(
            "Alerts that fire",
            "Each alert of the worker that fires now. Open its entry in the runbook: what it means, how to "
            "look, what to do.",
            Unit.STATE,
            'max by (alertname, severity) (ALERTS{alertstate="firing",service="sevenp-worker"})',
            Limits(Colour.BAD),
            legend="{{alertname}} ({{severity}})",
            states=FIRES,
            empty="none fires",
            width=8,
        ),
        number(
            "Error budget left",
            "Share of the 3 h 36 min of bad time in 30 days that is not used up, for each objective. Below "
            "zero the objective is missed.",
            Unit.SHARE,
            f"min by (slo) (sevenp_worker:slo_budget_left{{{PLATFORM}}})",
            falling(0.25, 0),
            legend="{{slo}}",
            alert="SloBudgetBurnsFast",
            empty="rules are not loaded",
        ),
        number(
            "Oldest unread record",
            "How long the oldest record of all partitions has been waiting in Kafka. 0 when everything is "
            "read; it grows with the clock while nothing is.",
            Unit.SECONDS,
            f"max ({of_platform('kafka_consumer_lag_seconds')})",
            rising(30, 60),
            alert="KafkaLagHigh",
            empty="not known",
        ),
        number(
            "Documents behind",
            "How far the slowest change stream is behind the event store: what is stored is not shown to "
            "learners before.",
            Unit.SECONDS,
            f"max ({behind(of_platform)})",
            rising(10, 60),
            alert="ChangeStreamBehind",
            empty="nobody follows",
        ),
        number(
            "Workers",
            "Processes that Prometheus can ask, the scheduler among them.",
            Unit.COUNT,
            f"count ({of_platform('build_info')})",
            ONE_IS_ENOUGH,
            alert="WorkerDown",
            empty="none answers",
        ),
    ),
)

_AWAY = Row(
    "What is away, or stands still?",
    (
        timeline(
            "Dependencies",
            "Whether MongoDB and Kafka answer the workers, as /readyz has it: red as soon as one worker has "
            "no answer. `start` is red until a worker's checks at its start have passed.",
            ANSWERS,
            Query(f"min by (dependency) ({of_workers('dependency_up')})", "{{dependency}}"),
            alert="DependencyDown",
            empty="no worker answers",
            width=10,
        ),
        timeline(
            "Roles",
            "Whether each role still moves, as /livez has it. A role that waits for a server moves.",
            MOVES,
            Query(f"min by (component) ({of_workers('component_up')})", "{{component}}"),
            alert="ComponentStalled",
            empty="no worker answers",
            width=10,
        ),
        number(
            "Paused by hand",
            "What somebody has paused: a role, partitions, projections, kinds of notifications or streams. "
            "`sevenp-worker status` says who, since when and why.",
            Unit.COUNT,
            f"max by (what) ({of_platform('paused')}) > 0",
            SOME_ARE_WATCHED,
            legend="{{what}}",
            alert="PausedByHand",
            empty="nothing",
            height=6,
        ),
    ),
)

_FLOW = Row(
    "Do events flow?",
    (
        graph(
            "Records by outcome",
            "What became of the records that were read. Green alone is as it should be; redelivered ones "
            "follow a restart, duplicates come from producers.",
            Unit.PER_SECOND,
            Query(per_second("events_processed_total", by=("outcome",)), "{{outcome}}"),
            colours=OUTCOMES,
            alert="DeadLetterBurst",
            stacked=True,
        ),
        graph(
            "Records waiting in Kafka",
            "Records behind the last durable offset, and those of them that more workers could read: the "
            "difference lies in partitions that are paused.",
            Unit.RECORDS,
            Query(f"sum by (topic) ({of_workers('kafka_consumer_lag_records')})", "{{topic}}, all"),
            Query(
                f"sum by (topic) ({of_workers('kafka_scalable_lag_records')})", "{{topic}}, for more workers"
            ),
            alert="KafkaLagGrowing",
            empty="not known: no answer of Kafka yet",
        ),
        graph(
            "From stored to shown",
            "How long an event took from the event store to a learner's document: half of them, and 99 of "
            "100.",
            Unit.SECONDS,
            Query(quantile(0.5, "projection_freshness_seconds", by=("projection",)), "{{projection}}, half"),
            Query(quantile(0.99, "projection_freshness_seconds", by=("projection",)), "{{projection}}, 99 %"),
            limits=rising(5, 30),
            alert="ProjectionStale",
            empty="nothing was folded",
        ),
    ),
)

_WAITING = Row(
    "What waits for somebody?",
    (
        graph(
            "Stuck and refused",
            "Streams that stand still, dead letters that nobody acted upon, and notifications not sent yet, "
            "of the whole platform.",
            Unit.COUNT,
            Query(f"max ({of_platform('retry_blocked_streams')})", "blocked streams"),
            Query(f"sum (max by (step) ({of_platform('dead_letter_events')}))", "open dead letters"),
            Query(f"max ({of_platform('outbox_pending_events')})", "unsent notifications"),
            alert="RetryBacklogOld",
            empty="not known: no worker holds the exporter's lease",
        ),
        graph(
            "MongoDB commands: failed and slow",
            "Commands that failed, or took a second or more, seen from the workers.",
            Unit.PER_SECOND,
            Query(per_second("mongodb_failed_commands_total"), "failed"),
            Query(per_second("mongodb_slow_commands_total"), "slow"),
            colours={"failed": Colour.BAD, "slow": Colour.WATCH},
            alert="DependencyDown",
        ),
        graph(
            "Delay of the event loop",
            "How much later than it asked for a worker's task is woken, for 99 of 100: above a second the "
            "process has too little processor, or something blocks it.",
            Unit.SECONDS,
            Query(quantile(0.99, "event_loop_delay_seconds", by=("instance",)), "{{instance}}"),
            limits=rising(0.25, 1),
        ),
    ),
)

_OBJECTIVE = Row(
    "The objectives: 99.5 % of the time",
    (
        graph(
            "Speed at which the budget burns",
            "1 uses up the budget of 30 days in 30 days. Above 14.4 for an hour somebody is called, above 6 "
            "for six hours there is a ticket.",
            Unit.TIMES,
            *(Query(_burn_rate(window), f"{{{{slo}}}}, {window}") for window in ("5m", "1h", "6h")),
            limits=rising(6, 14.4),
            alert="SloBudgetBurnsFast",
            empty="rules are not loaded",
        ),
        graph(
            "Canary: from published to shown",
            "How long the synthetic learner's events took from Kafka to its document: half of them, and 99 "
            "of 100.",
            Unit.SECONDS,
            Query(quantile(0.5, "canary_latency_seconds"), "half"),
            Query(quantile(0.99, "canary_latency_seconds"), "99 %"),
            limits=rising(10, 60),
            alert="CanaryLate",
            empty="the canary is switched off",
        ),
        graph(
            "Canary: last seen",
            "Time since a synthetic event was last seen in its document.",
            Unit.SECONDS,
            Query(age(of_platform("canary_last_success_timestamp_seconds")), "last seen"),
            limits=rising(60, 180),
            alert="CanaryLate",
            empty="the canary is switched off",
        ),
    ),
)

_PROCESSES = Row(
    "The processes",
    (
        graph(
            "Processor",
            "Cores in use, by process. A worker uses one at most.",
            Unit.COUNT,
            Query(f"rate(process_cpu_seconds_total{{{WORKERS}}}[{SOME_TIME}])", "{{instance}}"),
            limits=rising(0.8, 0.95),
        ),
        graph(
            "Memory",
            "Resident memory, by process.",
            Unit.BYTES,
            Query(f"process_resident_memory_bytes{{{WORKERS}}}", "{{instance}}"),
        ),
        graph(
            "Versions",
            "How many processes run which version: two of them while a release is rolled out, one otherwise.",
            Unit.COUNT,
            Query(f"count by (version, revision) ({of_workers('build_info')})", "{{version}} ({{revision}})"),
        ),
    ),
)

BOARD = Board(
    "overview",
    "7P worker: overview",
    "Are learners served, and if not, what is away? From here to the dashboard of the part that hurts.",
    (_SERVED, _AWAY, _FLOW, _WAITING, _OBJECTIVE, _PROCESSES),
)
