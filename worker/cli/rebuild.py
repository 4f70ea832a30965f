"""`sevenp-worker rebuild …`, `promote` and `rollback`: what is kept made again from what it follows from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console

from projections.catalogue import EVERY
from projections.progress.projection import PROGRESS
from worker.cli import help as text
from worker.cli.foreground import asked, print_rest, run_in_foreground
from worker.cli.left import print_left
from worker.cli.options import Commands, DryRun, JsonFlag
from worker.cli.parallel import NotBesideEachOther, NotBesideTheRepairer
from worker.cli.selecting import selecting
from worker.cli.tables import print_table
from worker.jobs.promotion import PROMOTE, ROLLBACK, Promote, Rollback
from worker.jobs.rebuild_counts import REBUILD_COUNTS, RebuildCounts
from worker.jobs.rebuild_into import REBUILD_INTO, RebuildInto
from worker.jobs.rebuild_notifications import REBUILD_NOTIFICATIONS, RebuildNotifications
from worker.jobs.rebuild_progress import REBUILD_PROGRESS, RebuildProgress
from worker.jobs.rebuild_time_series import REBUILD_TIME_SERIES, RebuildTimeSeries
from worker.jobs.runner import Result
from worker.storage.stream_selection import StreamSelection

_SETTINGS = text.settings(*text.MONGODB, "jobs_", "operator")

Into = Annotated[
    str | None,
    typer.Option(help="Build under this name beside the live documents, and report how they differ."),
]
AnotherFold = Annotated[
    str | None,
    typer.Option(help="With --into: another fold than the one in use, as package.module:NAME."),
]
Parallel = Annotated[
    int, typer.Option(min=1, max=16, help="How many parts of the slots are worked on side by side.")
]

rebuild_app = Commands(
    help="Make again what is kept, from what it follows from; readers never see less meanwhile."
)


@rebuild_app.command(
    epilog=text.page(
        text.examples(
            "sevenp-worker rebuild progress --dry-run          how many documents differ",
            "sevenp-worker rebuild progress --course COURSE",
            "sevenp-worker rebuild progress --type quiz_submitted --since 12h",
            "sevenp-worker rebuild progress --into quizzes     beside the live documents, with a report",
            "sevenp-worker rebuild progress --into quizzes --fold ours.progress:WITH_NEW_QUIZZES",
        ),
        _SETTINGS,
        text.exit_codes(),
    )
)
@selecting
def progress(
    selection: StreamSelection,
    projection: Annotated[
        str | None, typer.Option(help="Only this stream projection, by name; without it, all of them.")
    ] = None,
    into: Into = None,
    fold: AnotherFold = None,
    parallel: Parallel = 1,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Fold documents of all stream projections from their first event, and replace what differs.

    A document changes only from the revision that was read, and what the platform keeps in it stays. Nothing is
    announced a second time. It goes on where it was interrupted.
    """
    _rebuild_documents(selection, projection, Build(into, fold, parallel, dry_run, as_json))


def _command_for(name: str) -> Callable[..., None]:
    """`rebuild NAME`: the same for the documents of one stream projection."""

    def command(
        selection: StreamSelection,
        into: Into = None,
        fold: AnotherFold = None,
        parallel: Parallel = 1,
        dry_run: DryRun = False,
        as_json: JsonFlag = False,
    ) -> None:
        _rebuild_documents(selection, name, Build(into, fold, parallel, dry_run, as_json))

    command.__doc__ = f"""Fold the documents of `{name}` from their first event, and replace what differs.

    As `rebuild progress --projection {name}`.
    """
    return selecting(command)


for _name in (each.name for each in EVERY.streams if each.name != PROGRESS.name):
    _epilog = text.page(
        text.examples(f"sevenp-worker rebuild {_name} --dry-run"), _SETTINGS, text.exit_codes()
    )
    rebuild_app.command(_name, epilog=_epilog)(_command_for(_name))


@dataclass(frozen=True, slots=True)
class Build:
    """How documents are made again: in place, or under a name `into`, perhaps by another `fold`."""

    into: str | None
    fold: str | None
    parallel: int
    dry_run: bool
    as_json: bool


def _rebuild_documents(selection: StreamSelection, projection: str | None, how: Build) -> None:
    if how.into is None and how.fold is not None:
        raise typer.BadParameter(
            "needs --into NAME: another fold is looked at before it is promoted", param_hint="--fold"
        )
    if how.into is not None and how.dry_run:
        raise typer.BadParameter(
            "is not needed with --into, which changes no live document", param_hint="--dry-run"
        )
    if how.into is None:
        arguments = asked(RebuildProgress, of=selection, projection=projection, parallel=how.parallel)
        run_in_foreground(REBUILD_PROGRESS, arguments, dry_run=how.dry_run, as_json=how.as_json)
    named: dict[str, Any] = {} if projection is None else {"projection": projection}
    building = asked(RebuildInto, of=selection, into=how.into, fold=how.fold, parallel=how.parallel, **named)
    run_in_foreground(REBUILD_INTO, building, as_json=how.as_json, show=_print_difference)


@rebuild_app.command(
    epilog=text.page(
        text.examples(
            "sevenp-worker rebuild counts --dry-run            how many documents would be written",
            "sevenp-worker rebuild counts --course COURSE",
            "sevenp-worker rebuild counts --projection counts",
        ),
        _SETTINGS,
        text.exit_codes(),
    )
)
@selecting
def counts(
    selection: StreamSelection,
    projection: Annotated[
        str | None, typer.Option(help="Only this sum, read model or contest, by name; without it, all.")
    ] = None,
    parallel: NotBesideEachOther = None,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Count again: projections, statistics of courses and users, every other sum, read models, and contests.

    In transactions like those of live counting, which goes on meanwhile. A dry run gives each of them up at its end.
    """
    arguments = asked(RebuildCounts, of=selection, projection=projection)
    run_in_foreground(REBUILD_COUNTS, arguments, dry_run=dry_run, as_json=as_json)


@rebuild_app.command(
    "time-series",
    epilog=text.page(
        text.examples(
            "sevenp-worker rebuild time-series --dry-run       how many rows are missing",
            "sevenp-worker rebuild time-series --learner LEARNER",
        ),
        text.settings(*text.MONGODB, *text.KAFKA, "kafka_group_id", "topic", "jobs_", "operator"),
        text.exit_codes(),
    ),
)
@selecting
def time_series(
    selection: StreamSelection,
    parallel: NotBesideTheRepairer = None,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Write rows of the time series that events lack; name those that are doubled or altered.

    Beside the workers, and only of records that their consumer group has committed: those rows nobody else writes any
    more. From MongoDB 7.0 on doubled and altered rows are written anew as well.
    """
    arguments = asked(RebuildTimeSeries, of=selection)
    run_in_foreground(REBUILD_TIME_SERIES, arguments, dry_run=dry_run, as_json=as_json, show=print_left)


@rebuild_app.command(
    epilog=text.page(
        text.examples(
            "sevenp-worker rebuild notifications --dry-run     how many rows are lost",
            "sevenp-worker rebuild notifications               made again, and held back",
            "sevenp-worker rebuild notifications --send RUN    sent, as that dry run showed",
        ),
        _SETTINGS,
        text.exit_codes(),
    )
)
@selecting
def notifications(
    selection: StreamSelection,
    send: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="Have them sent: the dry run of the same selection that showed how many."
        ),
    ] = None,
    parallel: NotBesideEachOther = None,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Make lost rows of the outbox again, which are not sent.

    Whether a lost notification was sent before, nobody knows: --send has it sent. What a replay met, or is older than
    SEVENP_NOTIFY_WITHIN_HOURS, is never sent.
    """
    if send is not None and dry_run:
        raise typer.BadParameter("names a dry run that was made before", param_hint="--send")
    arguments = asked(RebuildNotifications, of=selection, send=send)
    run_in_foreground(REBUILD_NOTIFICATIONS, arguments, dry_run=dry_run, as_json=as_json)


def promote(
    name: Annotated[str, typer.Argument(help="The name that was given to rebuild progress --into.")],
    as_json: JsonFlag = False,
) -> None:
    """Put what was built under a name in place of the live documents that differ; these are kept.

    What has moved since it was built is built again before. Nothing is announced. `rollback` undoes it.
    """
    run_in_foreground(PROMOTE, asked(Promote, into=name), as_json=as_json)


def rollback(
    job: Annotated[str, typer.Argument(help="The run of promote, as it was printed.")],
    as_json: JsonFlag = False,
) -> None:
    """Put back the documents that a promotion has replaced.

    One that moved since is not touched, but named: what came to it would be lost.
    """
    run_in_foreground(ROLLBACK, asked(Rollback, promotion=job), as_json=as_json)


PROMOTE_EPILOG = text.page(text.examples("sevenp-worker promote quizzes"), _SETTINGS, text.exit_codes())
ROLLBACK_EPILOG = text.page(
    text.examples("sevenp-worker rollback promote-0123456789-1"), _SETTINGS, text.exit_codes()
)


def _print_difference(result: Result) -> None:
    """Counts, then in which paths documents differ, then some of them place by place."""
    outcome = dict(result.run.outcome or {})
    samples, paths = outcome.pop("samples", []), outcome.pop("paths", {})
    print_rest(result, outcome)
    ordered = sorted(paths.items(), key=lambda each: (-each[1], each[0]))
    print_table([(path, f"{number:,}") for path, number in ordered], ("path", "documents that differ"))
    rows = [
        (sample["stream"], path, str(place["live"]), str(place["built"]))
        for sample in samples
        for path, place in sample["places"].items()
    ]
    print_table(rows, ("stream", "place", "live", "built"))
    if outcome.get("differing"):
        into = result.run.arguments["into"]
        Console(soft_wrap=True, highlight=False).print(
            f"`sevenp-worker promote {into}` puts what was built in their place.", markup=False
        )
