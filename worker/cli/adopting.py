"""`sevenp-worker adopt`: records that the platform kept by itself become the worker's."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal

import typer

from worker.adopt.report import said
from worker.app.opening import assert_schema, opened_in_use, opened_to_change
from worker.cli import help as text
from worker.cli.foreground import asked, run_in_foreground
from worker.cli.options import DryRun, JsonFlag, parse_time
from worker.cli.tables import print_table
from worker.jobs.adopt import ADOPT, AdoptArguments
from worker.jobs.runner import Result
from worker.settings import Settings
from worker.storage.database import Database

EPILOG = text.page(
    text.examples(
        "sevenp-worker adopt --dry-run           what would become of each record",
        "sevenp-worker adopt                     do it; again, after it was killed",
        "sevenp-worker adopt --counted-until 2026-03-01T02:00 --duplicates furthest",
    ),
    text.settings(*text.MONGODB, "notify_within_hours"),
    text.exit_codes(),
)
_RECORDS = frozenset({"user_progress"})
"""Its index cannot be made while a learner has two records in one course: that is what adoption is for."""
# Enough to look at; all of them stand in the run: --json, jobs show.
_SAMPLES_SHOWN = 5


def adopt(
    dry_run: DryRun = False,
    counted_until: Annotated[
        str | None,
        typer.Option(
            help="Events up to then are in the platform's records: a date and time (UTC), or 90m, 12h, 7d ago."
        ),
    ] = None,
    duplicates: Annotated[
        Literal["set-aside", "furthest"],
        typer.Option(
            help="Of several records of one learner in one course: leave all, or adopt the furthest."
        ),
    ] = "set-aside",
    as_json: JsonFlag = False,
) -> None:
    """Make the platform's own records of learners the worker's: each becomes one opening event of its stream.

    The document keeps what it shows and the platform's further fields; nobody is notified; statistics show what the
    records say, and what the platform had counted stays in stats.before_adoption. Records that make no sense are set
    aside, with the reason: then it ends with 1. May be killed and started again, beside a worker. See
    docs/adopting.md for the order of steps.
    """
    until = None if counted_until is None else parse_time(counted_until, datetime.now(UTC))
    arguments = asked(AdoptArguments, counted_until=until, duplicates=duplicates)
    run_in_foreground(
        ADOPT,
        arguments,
        dry_run=dry_run,
        as_json=as_json,
        show=show,
        opening=opened_to_change if dry_run else opened_in_use,
        fit=_anything if dry_run else partial(assert_schema, besides=_RECORDS),
    )


async def _anything(_settings: Settings, _database: Database) -> None:
    """A dry run only reads: it may come before the schema."""


def show(result: Result) -> None:
    """What became of the records, or would; why some were set aside; what changed; what the platform had counted."""
    counts, outcome, done = result.run.counts, result.outcome, not result.run.dry_run
    will = "" if done else "would be "
    rows = [
        ("the worker's already", outcome["matched"]),
        (f"{will}adopted", counts.get("adopted", 0)),
        ("  of these changed", counts.get("changed", 0)),
        (f"{will}merged into another record of the learner", counts.get("merged", 0)),
        (f"{will}set aside", counts.get("set_aside", 0)),
        *(
            [(f"documents of courses and users {will}adopted", documents)]
            if (documents := counts.get("documents_adopted", 0))
            else []
        ),
        ("learners with several records in one course", outcome["learners_with_several"]),
        ("lessons that are not in the course's curriculum", counts.get("lessons_outside_curriculum", 0)),
        ("completed, and not notified as far as the record says", counts.get("completed_unannounced", 0)),
        *(
            [("courses and users whose numbers were put aside", counts.get("numbers_kept", 0))]
            if done
            else []
        ),
        *(
            [("of these refused by the server", refused)]
            if (refused := counts.get("numbers_refused", 0))
            else []
        ),
    ]
    print_table([(name, f"{number:,}") for name, number in rows], ("records", "number"))
    _print_set_aside(outcome)
    print_table(
        [(each["path"], f"{each['records']:,}") for each in outcome["changed"]],
        ("field that changes", "records"),
    )
    print_table(
        _enrolments(outcome["enrolments"]), ("counted by the platform", "id", "enrolments", "records")
    )


def _print_set_aside(outcome: Mapping[str, Any]) -> None:
    reasons: Mapping[str, int] = outcome["set_aside"]
    print_table(
        [(reason, f"{number:,}", said(reason)) for reason, number in reasons.items()],
        ("set aside", "number", "why"),
    )
    samples: Mapping[str, Sequence[Mapping[str, str]]] = outcome["samples"]
    print_table(
        [
            (each["record"], reason, each["detail"])
            for reason, some in samples.items()
            for each in some[:_SAMPLES_SHOWN]
        ],
        ("record", "set aside", "detail"),
    )


def _enrolments(compared: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Courses and users whose number of enrolments is not that of the records."""
    return [
        (f"{name}: {found['differ']:,} differ", each["id"], f"{each['shown']:,}", f"{each['records']:,}")
        for name, found in compared.items()
        for each in found["samples"][:_SAMPLES_SHOWN]
    ]
