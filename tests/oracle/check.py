"""Checks a case by the ten invariants; nothing said means that all of them hold, as far as there is evidence."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta

from tests.oracle import (
    billing,
    canaries,
    content,
    counts,
    courses,
    dead_letters,
    events,
    outbox,
    outcomes,
    progress,
    promotions,
    quiescence,
    series,
    stamps,
    users,
    versions,
)
from tests.oracle.case import Case, Evidence
from tests.oracle.finding import Finding, bounded
from tests.oracle.ledger import Entry
from tests.oracle.stored import read_stored

Rule = Callable[[Case], Iterator[str]]

RULES: Mapping[int, Sequence[Rule]] = {
    1: (outcomes.of_the_ledger, outcomes.of_the_log, outcomes.unread),
    2: (events.stored_once, events.bodies, events.traces, stamps.stamps),
    3: (events.dense_versions, events.ordered_versions),
    4: (series.rows_once, series.row_contents),
    5: (
        progress.progress_documents,
        courses.course_documents,
        courses.claimed_slugs,
        users.user_documents,
        content.content_documents,
        content.cycles,
        promotions.promotion_documents,
        versions.version_documents,
    ),
    6: (
        counts.counted_learners,
        counts.course_statistics,
        counts.social_proofs,
        counts.user_statistics,
        counts.activity_logs,
        counts.instructors,
        counts.course_revenues,
    ),
    7: (
        outbox.outbox_rows,
        outbox.row_contents,
        outbox.deliveries,
        outbox.delivered_bodies,
        billing.derived_payments,
        billing.billing_rows,
    ),
    8: (
        dead_letters.kept_once,
        dead_letters.nothing_healthy,
        dead_letters.reasons,
        dead_letters.exact_bytes,
        dead_letters.as_logged,
    ),
    9: (
        quiescence.completed_items,
        quiescence.losers_named,
        quiescence.committed_offsets,
        quiescence.metrics_at_quiescence,
    ),
    10: (canaries.planted, canaries.logs_and_metrics, canaries.words_of_errors, canaries.documents),
}
ALL = frozenset(RULES)

# What a damaged document does to whoever reads it.
_UNREADABLE = (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError)


def check(
    mongodb_uri: str,
    prefix: str,
    ledger: Sequence[Entry],
    *,
    in_order: bool = False,
    evidence: Evidence | None = None,
    invariants: Collection[int] = ALL,
    owned: Collection[str] = (),
    stale_after: timedelta | None = None,
) -> list[Finding]:
    """What is wrong in the databases of `prefix`, once everything in the ledger was drained; empty if nothing.

    `in_order` says that every stream's records went to one partition in the ledger's order: then its versions must
    follow that order, too. `invariants` leaves out those a run did not work for. `owned` are those of `courses` and
    `users` whose documents the worker makes; `stale_after` as in `Case`.
    """
    stored = read_stored(mongodb_uri, prefix)
    case = Case(stored, ledger, evidence or Evidence(), in_order, frozenset(owned), stale_after)
    return check_case(case, invariants)


def check_case(case: Case, invariants: Collection[int] = ALL) -> list[Finding]:
    """The same for what was read already. Raises ValueError for a secret too short to be searched for."""
    for secret in (*case.evidence.canaries, *case.evidence.passwords):
        if len(secret) < canaries.SHORTEST:
            raise ValueError(f"a secret has at least {canaries.SHORTEST} characters")
    return [
        finding
        for number in sorted(invariants)
        for rule in RULES[number]
        for finding in bounded(number, _checked(rule, case))
    ]


def not_checked(case: Case) -> Mapping[int, str]:
    """By invariant, what nobody looked at: there a violation would not be seen."""
    evidence = case.evidence
    missing = {
        1: [] if evidence.log else ["no log: checked by ids and bytes, not by positions"],
        3: [] if case.in_order else ["order of the partition unknown"],
        7: [] if evidence.received is not None else ["no receiver's log"],
        9: [
            *([] if evidence.log else ["no log and no group"]),
            *([] if evidence.metrics is not None else ["no metrics"]),
        ],
        10: [
            *([] if evidence.canaries or evidence.passwords else ["no secrets to look for"]),
            *([] if evidence.logs is not None else ["no logs"]),
            *([] if evidence.metrics is not None else ["no metrics"]),
        ],
    }
    return {number: ", ".join(words) for number, words in missing.items() if words}


def _checked(rule: Rule, case: Case) -> Iterator[str]:
    """The rule's sentences; a document it cannot read breaks it."""
    try:
        yield from rule(case)
    except _UNREADABLE as error:
        yield f"a document cannot be read by {rule.__name__}: {type(error).__name__} {error}"
