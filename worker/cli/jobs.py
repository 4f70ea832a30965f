"""`sevenp-worker jobs`: the runs of jobs, and how they are begun, paused and ended."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Annotated, Any

import typer
from rich.console import Console

from worker.app.opening import opened_in_use
from worker.cli import help as text
from worker.cli.ending import run_to_end
from worker.cli.foreground import asked, back_fill_in_foreground, run_as_json, run_in_foreground
from worker.cli.listing import age, plain, print_document
from worker.cli.options import Commands, DryRun, JsonFlag
from worker.cli.tables import print_json, print_table
from worker.jobs import operate
from worker.jobs.catalogue import JOBS, job_named
from worker.jobs.interval import parse_duration, parse_interval, parse_moment, split
from worker.jobs.job import Job
from worker.jobs.operate import Seen
from worker.settings import load_settings
from worker.storage import audit
from worker.storage.database import Database

RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run, as `jobs list` shows it.")]

jobs_app = Commands(
    help="Jobs: rebuild, check, read again. What runs, what ran, and how it ended.",
    epilog=text.page(
        text.examples(
            "sevenp-worker jobs list                            the last runs",
            "sevenp-worker jobs list --catalogue                which jobs are there?",
            "sevenp-worker jobs show RUN                        one run, every field",
            "sevenp-worker jobs run NAME --interval 2026-11-21/P1D",
            "sevenp-worker jobs run NAME --from 2026-11-01 --to 2026-12-01",
            "sevenp-worker jobs pause RUN                       it waits after its next step",
            "sevenp-worker jobs resume RUN                      it goes on",
            "sevenp-worker jobs cancel RUN                      it ends after its next step",
        ),
        text.exit_codes(),
    ),
)


@jobs_app.command("list", epilog=text.settings(*text.MONGODB))
@run_to_end()
async def list_runs(
    job: Annotated[str | None, typer.Option(help="Only runs of this job.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest first.")] = 20,
    catalogue: Annotated[bool, typer.Option("--catalogue", help="The jobs instead of their runs.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the runs that were started last, the newest first; or all jobs there are."""
    if catalogue:
        _print_catalogue(as_json=as_json)
        return
    async with opened_in_use(load_settings()) as database:
        runs, unreadable = await operate.newest(database, job=job, limit=limit)
    if as_json:
        print_json([_as_json(each) for each in runs])
    else:
        columns = ("run", "interval", "state", "done", "started", "who", "message")
        print_table([_row(each) for each in runs], columns, empty="No runs.")
    for each in unreadable:
        Console(stderr=True).print(f"run {each.name} cannot be read: {each.reason}", markup=False)


@jobs_app.command("show", epilog=text.settings(*text.MONGODB))
@run_to_end()
async def show(run: RunId, as_json: JsonFlag = False) -> int:
    """Show every field of one run, and who holds its lease."""
    async with opened_in_use(load_settings()) as database:
        seen = await operate.find(database, run)
    return print_document(_as_json(seen), f"run {run}", as_json=as_json)


@jobs_app.command(
    "run",
    epilog=text.page(
        text.examples(
            "sevenp-worker jobs run NAME KEY=VALUE KEY=VALUE",
            "sevenp-worker jobs run NAME --interval 2026-11-21/P1D",
            "sevenp-worker jobs run NAME --from 2026-11-01 --to 2026-12-01 --every P1D",
        ),
        text.settings(*text.MONGODB, "jobs_", "operator"),
    ),
)
def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A job, as `jobs list --catalogue` shows it.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="What to do; a list is JSON.")
    ] = None,
    interval: Annotated[
        str | None, typer.Option(help="The time to do it for: 2026-11-21/P1D. Done once, unless --again.")
    ] = None,
    first: Annotated[
        str | None, typer.Option("--from", help="The first day of a range of intervals.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", help="Where the range ends: a day that is not done.")
    ] = None,
    every: Annotated[
        str, typer.Option(help="The length of the intervals of a range: P1D, PT1H, P1M.")
    ] = "P1D",
    again: Annotated[
        bool, typer.Option("--again", help="Also for an interval that is done already.")
    ] = False,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Run a job in the foreground. Started again with the same arguments, it goes on where it came to.

    With --from and --to it is run for each interval of the range, one after another; those that are done are left
    out. The first that fails ends the command.
    """
    job = _job(name)
    wanted = asked(job.arguments, **_values(arguments or []))
    try:
        intervals = _intervals(interval, first, last, every)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if first is None:
        one = intervals[0] if intervals else None
        run_in_foreground(job, wanted, interval=one, again=again, dry_run=dry_run, as_json=as_json)
    back_fill_in_foreground(job, wanted, intervals, again=again, dry_run=dry_run, as_json=as_json)


@jobs_app.command("pause", epilog=text.settings(*text.MONGODB, "operator"))
@run_to_end("it may be paused")
async def pause(run: RunId) -> None:
    """Have a run wait after its next step, until it is resumed or cancelled."""
    await _ask("pause", run)


@jobs_app.command("resume", epilog=text.settings(*text.MONGODB, "operator"))
@run_to_end("it may go on")
async def resume(run: RunId) -> None:
    """Have a run that is paused go on."""
    await _ask("resume", run)


@jobs_app.command("cancel", epilog=text.settings(*text.MONGODB, "operator"))
@run_to_end("it may be cancelled")
async def cancel(run: RunId) -> None:
    """Have a run end after its next step. What it has done stays; nobody goes on with it."""
    await _ask("cancel", run)


# What becomes of a run in this state.
_THEN = {
    "paused": " It waits after its next step.",
    "running": " It goes on.",
    "cancelling": " It ends after its next step.",
    "killed": " It goes on when its command is given again.",
}


async def _ask(what: str, run: str) -> None:
    settings = load_settings()
    who = settings.jobs.who
    async with (
        opened_in_use(settings) as database,
        audit.recorded(database, command=f"jobs {what}", who=who, arguments={"run": run}, run=run) as row,
    ):
        seen = await _asked(database, what, run, who)
        row.outcome["state"] = seen.state
    Console(highlight=False).print(f"{run} is {seen.state}.{_THEN.get(seen.state, '')}", markup=False)


async def _asked(database: Database, what: str, run: str, who: str) -> Seen:
    match what:
        case "pause":
            return await operate.pause(database, run, who, datetime.now(UTC))
        case "resume":
            return await operate.resume(database, run)
        case _:
            return await operate.cancel(database, run, who, datetime.now(UTC))


def _job(name: str) -> Job[Any]:
    job = job_named(name)
    if job is not None:
        return job
    near = get_close_matches(name, [each.name for each in JOBS], n=1)
    hint = f"did you mean {near[0]}?" if near else "`sevenp-worker jobs list --catalogue` shows all"
    raise typer.BadParameter(f"there is no job {name}: {hint}")


def _values(arguments: Sequence[str]) -> dict[str, Any]:
    """`key=value` as people write it; lists and objects as JSON."""
    values: dict[str, Any] = {}
    for each in arguments:
        key, separator, value = each.partition("=")
        if not separator or not key:
            raise typer.BadParameter(f"'{each}' is no argument: write KEY=VALUE")
        try:
            values[key.strip().replace("-", "_")] = (
                json.loads(value) if value.startswith(("[", "{")) else value
            )
        except ValueError:
            raise typer.BadParameter(f"'{each}': what begins with {value[0]} must be JSON") from None
    return values


def _intervals(interval: str | None, first: str | None, last: str | None, every: str) -> list[str]:
    if interval is not None and (first or last):
        raise ValueError("--interval is one, --from and --to are a range: choose")
    if interval is not None:
        return [str(parse_interval(interval))]
    if (first is None) != (last is None):
        raise ValueError("--from and --to go together")
    if first is None or last is None:
        return []
    return [str(each) for each in split(parse_moment(first), parse_moment(last), parse_duration(every))]


def _as_json(seen: Seen) -> dict[str, Any]:
    holder = seen.holder
    held = None if holder is None else {"who": holder.who, "since": plain(holder.since)}
    return {**run_as_json(seen.run), "state": seen.state, "held_by": held}


def _row(seen: Seen) -> tuple[str, ...]:
    run, steps = seen.run, seen.run.progress
    done = f"{steps.done:,}" if steps.total is None else f"{steps.done:,} of {steps.total:,}"
    started = f"{age(run.started_at)} ago"
    return (run.id, run.interval or "", seen.state, done, started, run.who, run.error or "")


def _print_catalogue(*, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {
                    "name": job.name,
                    "about": job.about,
                    "changes": job.changes,
                    "arguments": job.arguments.model_json_schema(),
                }
                for job in JOBS
            ]
        )
        return
    rows = [
        (job.name, "yes" if job.changes else "no", ", ".join(job.arguments.model_fields), job.about)
        for job in JOBS
    ]
    print_table(rows, ("job", "changes", "arguments", "message"), empty="No jobs.")
