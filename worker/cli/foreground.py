"""A job run by a command: in the foreground, with a bar, a summary, and an exit code that scripts can rely on."""

import signal
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError

from worker.app.exits import ExitCode
from worker.app.opening import opened_in_use
from worker.app.serving import assert_schema
from worker.cli.bar import shown
from worker.cli.ending import end_with
from worker.cli.listing import plain
from worker.cli.tables import print_json, print_table
from worker.errors import WorkerError
from worker.jobs.context import Parts
from worker.jobs.job import Job, JobArguments
from worker.jobs.runner import Result, Runner
from worker.settings import load_settings
from worker.storage.job_models import JobRun
from worker.telemetry.metrics import Metrics
from worker.timing import SystemClock

A = TypeVar("A", bound=JobArguments)
Show = Callable[[Result], None]

_GOES_ON = "what is done stays; the same command goes on where it came to"


def asked(model: type[A], **values: Any) -> A:
    """A job's arguments; raises typer.BadParameter in words for people."""
    try:
        return model(**values)
    except ValidationError as error:
        raise typer.BadParameter("wrong arguments") from error


def run_in_foreground(
    job: Job[A],
    arguments: A,
    *,
    interval: str | None = None,
    again: bool = False,
    dry_run: bool = False,
    as_json: bool = False,
    show: Show | None = None,
) -> NoReturn:
    """Run a job to its end and leave with its exit code; raises only `typer.Exit`.

    On stdout stands what `show` prints, or a table of counts and outcome, or with `as_json` the whole summary, or the
    error. Ctrl-C and SIGTERM end the run so that the same command goes on with it.
    """
    # SIGTERM is an orchestrator's way to say Ctrl-C, which shells have background jobs ignore.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))

    async def work() -> ExitCode:
        settings, clock = load_settings(), SystemClock()
        async with opened_in_use(settings) as database:
            await assert_schema(settings, database)
            with shown(job.name, clock) as observe:
                runner = Runner(Parts(database, settings, clock, Metrics()), settings.jobs.who, observe)
                try:
                    result = await runner.run(job, arguments, interval=interval, again=again, dry_run=dry_run)
                except WorkerError as error:
                    if as_json:
                        print_json({"job": job.name, "error": str(error), "kind": type(error).__name__})
                    raise
        _print(result, as_json=as_json, show=show or print_result)
        differs = result.run.outcome is not None and job.differs(result.run.outcome)
        return ExitCode.DIFFERENCE if differs else ExitCode.OK

    end_with(work, interrupted=lambda: _GOES_ON)


def summary(result: Result) -> dict[str, Any]:
    """What scripts are told of a run that is done."""
    run = result.run
    return {
        **run_as_json(run),
        "already_done": result.already,
        "seconds": _seconds(run.attempted_at, run.finished_at),
    }


def run_as_json(run: JobRun) -> dict[str, Any]:
    """A run's document as JSON."""
    shown_run: dict[str, Any] = plain(run.model_dump(by_alias=True))
    return {"run": shown_run.pop("_id"), **shown_run}


def print_result(result: Result) -> None:
    """Counts and outcome, one below the other."""
    run = result.run
    rows = [
        ("run", run.id),
        *([("interval", run.interval)] if run.interval else []),
        (
            "status",
            f"{run.status}{' (before)' if result.already else ''}{' (dry run)' if run.dry_run else ''}",
        ),
        *_rows({name: f"{number:,}" for name, number in run.counts.items()}),
        *_rows(run.outcome or {}),
    ]
    print_table(rows, ("field", "value"))


def _print(result: Result, *, as_json: bool, show: Show) -> None:
    if as_json:
        print_json(summary(result))
    else:
        show(result)


def _rows(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), str(plain(value))) for name, value in values.items()]


def _seconds(began: datetime, ended: datetime | None) -> float | None:
    return None if ended is None else round((ended - began).total_seconds(), 3)
