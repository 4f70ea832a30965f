"""What failed and waits: streams, dead letters and notifications, how old, for which reason, and what is tried."""

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
from dashboards.promql import age, counted, of_platform, of_workers, per_second, quantile

_OPEN_ITEMS = of_platform("retry_queue_events", 'state!="completed"')
_FAILED = per_second("retry_attempts_total", 'outcome=~"failed|exhausted"', by=("error_class",))
MEASURED = "not known: no worker holds the exporter's lease"
DAY_S = 86_400.0

_NOW = Row(
    "What waits for somebody?",
    (
        number(
            "Blocked streams",
            "Streams with a failed event: their documents stand still until it folds, or is skipped.",
            Unit.COUNT,
            f"max ({of_platform('retry_blocked_streams')})",
            rising(1, 100),
            alert="RetryBacklogOld",
            empty="not known",
        ),
        number(
            "Oldest item",
            "Age of the oldest item of the queue that is not completed.",
            Unit.SECONDS,
            f"max ({of_platform('retry_oldest_age_seconds')})",
            rising(300, 900),
            alert="RetryBacklogOld",
            empty="not known",
        ),
        number(
            "Open dead letters",
            "Records that could not become events, and that nobody has sent again or discarded.",
            Unit.COUNT,
            f"sum (max by (step) ({of_platform('dead_letter_events')}))",
            SOME_ARE_WATCHED,
            alert="DeadLetterOld",
            empty="not known",
        ),
        number(
            "Oldest dead letter",
            "Age of the oldest of them.",
            Unit.SECONDS,
            f"max ({of_platform('dead_letter_oldest_age_seconds')})",
            rising(DAY_S / 2, DAY_S),
            alert="DeadLetterOld",
            empty="not known",
        ),
        number(
            "Unsent notifications",
            "Rows of the outbox that still have to be sent.",
            Unit.COUNT,
            f"max ({of_platform('outbox_pending_events')})",
            rising(1_000, 10_000),
            alert="NotificationFailing",
            empty="not known",
        ),
        number(
            "Oldest notification",
            "Age of the oldest of them.",
            Unit.SECONDS,
            f"max ({of_platform('outbox_oldest_age_seconds')})",
            rising(120, 600),
            alert="NotificationOld",
            empty="not known",
        ),
    ),
)

_QUEUE = Row(
    "The queue: streams and documents that failed",
    (
        graph(
            "Items by state",
            "Failed ones have used up their attempts and wait for other code, or for somebody.",
            Unit.COUNT,
            Query(f"max by (state) ({_OPEN_ITEMS})", "{{state}}"),
            colours={"failed": Colour.BAD, "pending": Colour.WATCH, "processing": Colour.PLAIN},
            alert="RetryBacklogOld",
            empty=MEASURED,
        ),
        graph(
            "Attempts by outcome",
            "Postponed: a dependency was away, which does not count. Exhausted: it was the last one.",
            Unit.PER_SECOND,
            Query(f"{per_second('retry_attempts_total', by=('outcome',))} > 0", "{{outcome}}"),
            colours={"completed": Colour.GOOD, "failed": Colour.WATCH, "exhausted": Colour.BAD},
            empty="none in this time",
        ),
        graph(
            "Failed attempts by reason",
            "The class of the error; `queue list` has the message of each item.",
            Unit.PER_SECOND,
            Query(f"{_FAILED} > 0", "{{error_class}}"),
            alert="RetryBacklogOld",
            empty="none in this time",
        ),
    ),
)

_DECIDED = Row(
    "Decided against: nothing has failed",
    (
        graph(
            "Events without effect",
            "Right alone, and wrong beside others of their stream; the documents list them with the reason. Many "
            "at once: a producer has changed.",
            Unit.EVENTS,
            Query(
                f"{counted('projection_events_without_effect_total', by=('projection',))} > 0",
                "{{projection}}",
            ),
            alert="EventsWithoutEffect",
            empty="none in this time",
            width=12,
        ),
        graph(
            "Documents that lost a contest",
            "A slug, an address or a name that another has claimed earlier; a relationship that would close a "
            "cycle. `queue list` names them, and they wait for nobody.",
            Unit.COUNT,
            Query(f"max by (projection) ({of_platform('contest_lost_documents')})", "{{projection}}"),
            empty="not known: no worker has the role `counts`",
            width=12,
        ),
    ),
)

_DEAD_LETTERS = Row(
    "Dead letters: records that cannot become events",
    (
        graph(
            "New, by reason",
            "In each second. One reason from one moment on: a producer has changed. `dead-letters list` "
            "shows the records.",
            Unit.PER_SECOND,
            Query(f"{per_second('dead_lettered_events_total', by=('error_class',))} > 0", "{{error_class}}"),
            alert="DeadLetterBurst",
            empty="none in this time",
        ),
        graph(
            "Open",
            "That nobody has acted upon.",
            Unit.COUNT,
            Query(f"max by (step) ({of_platform('dead_letter_events')})", "{{step}}"),
            alert="DeadLetterOld",
            empty=MEASURED,
        ),
        graph(
            "Sent again",
            "By `dead-letters redrive`; the audit says which, and by whom.",
            Unit.EVENTS,
            Query(f"{counted('dead_letter_redrives_total')} > 0", "sent again"),
            empty="none in this time",
        ),
    ),
)

_NOTIFICATIONS = Row(
    "Notifications",
    (
        graph(
            "By outcome",
            "Deferred: tried again later. Suppressed: too old, or nobody wants it.",
            Unit.PER_SECOND,
            Query(per_second("notifications_total", by=("outcome",)), "{{outcome}}"),
            colours={"sent": Colour.GOOD, "failed": Colour.BAD, "deferred": Colour.WATCH},
            alert="NotificationGivenUp",
        ),
        graph(
            "Waiting in the outbox",
            "Rows that still have to be sent, of the whole platform.",
            Unit.COUNT,
            Query(f"max ({of_platform('outbox_pending_events')})", "unsent"),
            alert="NotificationFailing",
            empty=MEASURED,
        ),
        graph(
            "Time of one send, 99 of 100",
            "By channel, refused or not: near 10 s the receiver does not answer.",
            Unit.SECONDS,
            Query(quantile(0.99, "notification_send_duration_seconds", by=("channel",)), "{{channel}}"),
            limits=rising(1, 10),
            alert="NotificationFailing",
            empty="nothing was sent",
        ),
    ),
)

_GIVEN_UP = Row(
    "Given up, refused, and how old this is",
    (
        graph(
            "Events given up",
            "By projection, since each worker started: only where the settings say that bad events are "
            "skipped.",
            Unit.EVENTS,
            Query(f"sum by (projection) ({of_workers('skipped_events_total')})", "{{projection}}"),
            limits=SOME_ARE_WATCHED,
            alert="EventsSkipped",
        ),
        graph(
            "Refused rows",
            "Rows of outbox and billing that the server refuses: somebody else's validator or index.",
            Unit.COUNT,
            Query(f"max by (collection) ({of_platform('refused_rows')})", "{{collection}}"),
            limits=NONE_IS_GOOD,
            alert="RowsRefused",
            empty=MEASURED,
        ),
        graph(
            "Since depths were measured",
            "Every ten seconds by the worker that holds the exporter's lease.",
            Unit.SECONDS,
            Query(age(of_platform("depths_updated_timestamp_seconds")), "measured"),
            limits=rising(30, 60),
            alert="DepthsUnknown",
            empty=MEASURED,
        ),
    ),
)

BOARD = Board(
    "failures",
    "7P worker: retry and dead letters",
    "What failed and waits: streams, dead letters and notifications, how old, why, and what is tried.",
    (_NOW, _QUEUE, _DECIDED, _DEAD_LETTERS, _NOTIFICATIONS, _GIVEN_UP),
)
