"""Work with a beginning and an end: what the schedule started, what is under way, and what was found."""

from dashboards.panel import (
    NONE_IS_GOOD,
    Board,
    Colour,
    Limits,
    Query,
    Row,
    Unit,
    graph,
    number,
    rising,
)
from dashboards.promql import age, behind, counted, of_platform, of_workers, per_second

HOUR_S = 3_600.0
# As Prometheus calls our own label `job`.
_JOB = "exported_job"
_NO_SCHEDULER = "no scheduler answers"
_LAST_SUCCESS = of_platform("scheduled_job_last_success_timestamp_seconds")
_RUNNING = of_platform("scheduled_entries", 'state="running"')
_REFUSED = of_platform("scheduled_entries", 'state="refused"')

_NOW = Row(
    "Does what should run, run?",
    (
        number(
            "Entries that run",
            "Entries of the schedule that a scheduler follows; 0 where no scheduler runs.",
            Unit.COUNT,
            f"max ({_RUNNING})",
            Limits(Colour.WATCH, ((1, Colour.GOOD),)),
            alert="SchedulerGone",
            empty=_NO_SCHEDULER,
        ),
        number(
            "Entries refused",
            "Entries of the schedule that cannot run; the scheduler's log says why.",
            Unit.COUNT,
            f"max ({_REFUSED})",
            NONE_IS_GOOD,
            alert="ScheduleEntryRefused",
            empty=_NO_SCHEDULER,
        ),
        number(
            "Failed runs",
            "Runs that the schedule started and that failed, in the time that is looked at.",
            Unit.COUNT,
            counted("scheduled_job_runs_total", 'outcome="failed"'),
            NONE_IS_GOOD,
            alert="ScheduledJobFailed",
            empty=_NO_SCHEDULER,
        ),
        number(
            "Misfires",
            "Firings that were dropped in the time that is looked at: missed, or over a run that went on.",
            Unit.COUNT,
            counted("scheduled_job_misfires_total"),
            NONE_IS_GOOD,
            alert="ScheduledJobMisfired",
            empty=_NO_SCHEDULER,
        ),
        number(
            "Drift",
            "What the last whole walk of the scrubber found and did not mend. Documents are not what events "
            "say.",
            Unit.COUNT,
            f"sum (max by (kind) ({of_platform('drift_findings')}))",
            NONE_IS_GOOD,
            alert="DriftFindings",
            empty="not known",
        ),
        number(
            "Since all was checked",
            "Time since the scrubber last ended a walk through everything that is stored.",
            Unit.SECONDS,
            age(of_platform("drift_checked_timestamp_seconds")),
            rising(26 * HOUR_S, 48 * HOUR_S),
            alert="DriftNotChecked",
            empty="never yet",
        ),
    ),
)

_SCHEDULE = Row(
    "The schedule",
    (
        graph(
            "Since each job last succeeded",
            "Whoever started it. What runs every night must stay below 26 hours. A job that has never "
            "succeeded has no line.",
            Unit.SECONDS,
            Query(f"time() - max by ({_JOB}) ({_LAST_SUCCESS} > 0)", f"{{{{{_JOB}}}}}"),
            limits=rising(26 * HOUR_S, 50 * HOUR_S),
            alert="ScheduledReplayMissed",
            empty="none has succeeded yet",
        ),
        graph(
            "Runs by outcome",
            "Since the schedulers started. Difference: done, and something was found to be wrong.",
            Unit.COUNT,
            Query(f"sum by (outcome) ({of_workers('scheduled_job_runs_total')})", "{{outcome}}"),
            colours={"succeeded": Colour.GOOD, "failed": Colour.BAD, "difference": Colour.WATCH},
            alert="ScheduledJobFailed",
            empty=_NO_SCHEDULER,
        ),
        graph(
            "Misfires by reason",
            "Since the schedulers started. Missed: nobody could start it in time. Overlap: a run takes "
            "longer than its interval.",
            Unit.COUNT,
            Query(f"sum by (reason) ({of_workers('scheduled_job_misfires_total')})", "{{reason}}"),
            alert="ScheduledJobMisfired",
            empty=_NO_SCHEDULER,
        ),
    ),
)

_UNDER_WAY = Row(
    "Under way",
    (
        graph(
            "Done so far",
            "Of the run of each job that is under way, whoever started it.",
            Unit.SHARE,
            Query(f"max by ({_JOB}) ({of_platform('replay_progress_ratio')})", f"{{{{{_JOB}}}}}"),
            alert="ReplayStuck",
            empty="none under way, or none has counted yet",
            most=1,
        ),
        graph(
            "Left to do",
            "Streams, or other steps, of the same runs. A flat line: the run waits for live work, is paused, "
            "or is stuck.",
            Unit.COUNT,
            Query(f"max by ({_JOB}) ({of_platform('replay_remaining_streams')})", f"{{{{{_JOB}}}}}"),
            alert="ReplayStuck",
            empty="none under way, or none has counted yet",
        ),
        graph(
            "Live work meanwhile",
            "How far projections are behind. Jobs wait while it is more than a second.",
            Unit.SECONDS,
            Query(f"max by (watcher) ({behind(of_platform)})", "{{watcher}}"),
            limits=rising(10, 60),
            alert="ChangeStreamBehind",
            empty="nobody follows",
        ),
    ),
)

_FOUND = Row(
    "What the scrubber finds",
    (
        graph(
            "Findings by part",
            "Of the last whole walk, or of the one under way where it has found more.",
            Unit.COUNT,
            Query(f"max by (kind) ({of_platform('drift_findings')})", "{{kind}}"),
            limits=NONE_IS_GOOD,
            alert="DriftFindings",
            empty="not known: no worker holds the exporter's lease",
        ),
        graph(
            "Documents that differed",
            "As walks find them, by projection.",
            Unit.PER_SECOND,
            Query(per_second("projection_drift_documents_total", by=("projection",)), "{{projection}}"),
            alert="ProjectionDrift",
        ),
        graph(
            "Records that the store lacks",
            "Offsets that the group has read and the store does not hold: `reingest` brings them back.",
            Unit.RECORDS,
            Query(f"sum by (topic) ({of_workers('kafka_missing_records')})", "{{topic}}"),
            limits=NONE_IS_GOOD,
            alert="RecordsMissing",
        ),
    ),
)

BOARD = Board(
    "jobs",
    "7P worker: jobs",
    "What the schedule started and how it ended, what is under way, and what the scrubber found.",
    (_NOW, _SCHEDULE, _UNDER_WAY, _FOUND),
)
