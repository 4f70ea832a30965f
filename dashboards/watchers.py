"""From the event store to documents and statistics: who follows, how far behind, and what folds do."""

from dashboards.panel import (
    NONE_IS_GOOD,
    SOME_ARE_WATCHED,
    Board,
    Colour,
    Query,
    Row,
    Unit,
    falling,
    graph,
    number,
    rising,
)
from dashboards.promql import age, behind, counted, of_platform, of_workers, per_second, quantile
from worker.storage.shares import GROUPS

_PROGRESS_AND_COUNTS = of_platform("lease_held", 'lease=~"(progress|counts):.+"')
_AGAIN = per_second("projection_events_applied_total", 'mode!="live"', by=("projection", "mode", "outcome"))
# Leases are called `progress:00`.
_HELD = f'label_replace({of_workers("lease_held")}, "watcher", "$1", "lease", "(.+):[0-9]+")'
_LIVE = per_second("projection_events_applied_total", 'mode="live"', by=("projection", "outcome"))
_HEADROOM = of_platform("change_stream_oplog_headroom_seconds")

_NOW = Row(
    "Are documents current?",
    (
        number(
            "Documents behind",
            "How far the slowest change stream is behind the event store. It grows with the clock while "
            "MongoDB is away.",
            Unit.SECONDS,
            f"max ({behind(of_platform)})",
            rising(10, 60),
            alert="ChangeStreamBehind",
            empty="nobody follows",
        ),
        number(
            "Groups nobody has",
            f"Of the {GROUPS} groups of slots of `progress`, and the one of `counts`. Some seconds after a worker "
            "has gone are no harm.",
            Unit.COUNT,
            f"sum ({GROUPS + 1} - sum by (job) ({_PROGRESS_AND_COUNTS}))",
            NONE_IS_GOOD,
            alert="RoleMissing",
            empty="no worker answers",
        ),
        number(
            "Leases with two owners",
            "For some seconds after a process was frozen that is possible and costs nothing: writes are "
            "fenced. Longer, two workers do the same work.",
            Unit.COUNT,
            f"count (sum by (job, lease) ({of_platform('lease_held')}) > 1) or vector(0)",
            NONE_IS_GOOD,
            alert="SplitBrain",
        ),
        number(
            "Time until history is lost",
            "How long the slowest watcher could stand still before its place leaves the oplog: after that "
            "everything is compared. Of a young oplog it is short and grows; mind it when it falls.",
            Unit.SECONDS,
            f"min ({_HEADROOM})",
            falling(6 * 3600, 3600),
            alert="OplogHeadroomLow",
            empty="the oplog cannot be read",
        ),
        number(
            "Frozen streams",
            "Streams whose document a newer release has made: they stand still until that release runs again.",
            Unit.COUNT,
            f"sum ({of_workers('projection_frozen_streams')})",
            SOME_ARE_WATCHED,
            alert="StreamsFrozen",
        ),
        number(
            "Failed folds",
            "Streams that were quarantined in the time that is looked at, for each time that it was tried.",
            Unit.COUNT,
            counted("projection_events_applied_total", 'outcome="failed"'),
            NONE_IS_GOOD,
            alert="RetryBacklogOld",
        ),
    ),
)

_BEHIND = Row(
    "How far behind",
    (
        graph(
            "Behind the event store, by watcher",
            "The age of the place in the change stream, of the worker that is furthest behind.",
            Unit.SECONDS,
            Query(f"max by (watcher) ({behind(of_workers)})", "{{watcher}}"),
            limits=rising(10, 60),
            alert="ChangeStreamBehind",
            empty="nobody follows",
        ),
        graph(
            "From stored to shown",
            "Half of the events, and 99 of 100. Jobs wait while live work is behind.",
            Unit.SECONDS,
            Query(quantile(0.5, "projection_freshness_seconds", by=("projection",)), "{{projection}}, half"),
            Query(quantile(0.99, "projection_freshness_seconds", by=("projection",)), "{{projection}}, 99 %"),
            limits=rising(5, 30),
            alert="ProjectionStale",
            empty="nothing was folded",
        ),
        graph(
            "Since the change stream spoke",
            "The stream speaks every few seconds, also when nothing happens. Silence: MongoDB has lost its "
            "majority, or is away.",
            Unit.SECONDS,
            Query(
                f"time() - min by (watcher) ({of_workers('change_stream_last_heartbeat_timestamp_seconds')})",
                "{{watcher}}",
            ),
            limits=rising(30, 90),
            alert="ChangeStreamSilent",
            empty="nobody follows",
        ),
    ),
)

_WORK = Row(
    "What is done",
    (
        graph(
            "Changes seen",
            "By watcher: `progress` sees events, `counts` sees documents.",
            Unit.PER_SECOND,
            Query(per_second("change_stream_events_total", by=("watcher",)), "{{watcher}}"),
        ),
        graph(
            "Events folded, live",
            "By projection and outcome. Stale ones were in the document already, as after a restart.",
            Unit.PER_SECOND,
            Query(f"{_LIVE} > 0", "{{projection}}, {{outcome}}"),
            colours={"progress, failed": Colour.BAD, "counts, failed": Colour.BAD},
            empty="nothing was folded",
        ),
        graph(
            "Events folded again",
            "By retries and by rebuilds. Rebuilds that run as commands are not asked by Prometheus: see the "
            "dashboard of jobs.",
            Unit.PER_SECOND,
            Query(f"{_AGAIN} > 0", "{{projection}}, {{mode}}, {{outcome}}"),
            empty="none in this time",
        ),
    ),
)

_OWNERS = Row(
    "Who has what, and restarts",
    (
        graph(
            "Groups by worker",
            "Groups of slots that each worker holds, by watcher. One that dies again and again holds one, "
            "later and later.",
            Unit.COUNT,
            Query(f"sum by (watcher, instance) ({_HELD}) > 0", "{{watcher}} at {{instance}}"),
            alert="SplitBrain",
        ),
        graph(
            "Leases taken and lost",
            "By watcher. A few at each start and end of a worker.",
            Unit.PER_SECOND,
            Query(per_second("lease_transitions_total", by=("watcher",)), "{{watcher}}"),
        ),
        graph(
            "Change streams opened again",
            "Resumable: a connection broke. Lease lost: another worker took over. History lost: everything "
            "is compared.",
            Unit.PER_SECOND,
            Query(
                f"{per_second('change_stream_restarts_total', by=('watcher', 'reason'))} > 0",
                "{{watcher}}: {{reason}}",
            ),
            alert="HistoryLost",
            empty="none in this time",
        ),
        graph(
            "Time until history is lost, by watcher",
            "How long each watcher could stand still before its place leaves the oplog. It grows with a young "
            "oplog, and falls while a watcher stands still, or more is written.",
            Unit.SECONDS,
            Query(f"min by (watcher) ({_HEADROOM})", "{{watcher}}"),
            alert="OplogHeadroomLow",
            empty="the oplog cannot be read",
        ),
        graph(
            "Since each role moved",
            "By role, the worker that has not moved for the longest.",
            Unit.SECONDS,
            Query(
                f"time() - min by (component) ({of_workers('component_last_progress_timestamp_seconds')})",
                "{{component}}",
            ),
            limits=rising(45, 120),
            alert="ComponentStalled",
        ),
        graph(
            "Since depths were measured",
            "By the one worker that holds the exporter's lease, every ten seconds: older than a minute, what "
            "the other dashboard says of the whole platform is history.",
            Unit.SECONDS,
            Query(age(of_platform("depths_updated_timestamp_seconds")), "measured"),
            limits=rising(30, 60),
            alert="DepthsUnknown",
            empty="nobody measures: no worker has the role `retry`",
        ),
    ),
)

BOARD = Board(
    "watchers",
    "7P worker: watchers",
    "From the event store to documents and statistics: how far behind, what is folded, and who holds what.",
    (_NOW, _BEHIND, _WORK, _OWNERS),
)
