"""A job run by a command: in the foreground, with a bar, a summary, and an exit code that scripts can rely on."""

import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, Generic, NoReturn, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from worker.app.collector import tune_collector
from worker.app.exits import ExitCode
from worker.app.opening import assert_schema, opened_in_use
from worker.cli.bar import shown
from worker.cli.ending import end_with, say
from worker.cli.giving_way import give_way
from worker.cli.listing import plain
from worker.cli.tables import print_json, print_table
from worker.errors import WorkerError
from worker.jobs.context import Parts
from worker.jobs.job import Job, JobArguments
from worker.jobs.runner import Former, Result, Runner
from worker.mistakes import words_for
from worker.settings import Settings, load_settings
from worker.storage.database import Database
from worker.storage.job_models import JobRun
from worker.storage.past_validators import past_validators
from worker.telemetry.metrics import Metrics
from worker.telemetry.tracing import tracing
from worker.timing import SystemClock

A = TypeVar("A", bound=JobArguments)
M = TypeVar("M", bound=BaseModel)
Show = Callable[[Result], None]
Opening = Callable[[Settings], AbstractAsyncContextManager[Database]]
Fit = Callable[[Settings, Database], Awaitable[None]]

_GOES_ON = "what is done stays; the same command goes on where it came to"


def asked(model: type[M], **values: Any) -> M:
    """A job's arguments; raises typer.BadParameter in words for people."""
    try:
        return model(**values)
    except ValidationError as error:
        mistakes = [_in_words(detail, model) for detail in error.errors(include_url=False)]
        raise typer.BadParameter("; ".join(mistakes)) from None


def _in_words(detail: Mapping[str, Any], model: type[BaseModel]) -> str:
    name = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        return f"{name} is no argument; there are {', '.join(model.model_fields) or 'none'}"
    # What a check of ours says is a whole sentence.
    return words_for(detail) if detail["type"] == "value_error" else f"{name} {words_for(detail)}"


def run_in_foreground(
    job: Job[A],
    arguments: A,
    *,
    interval: str | None = None,
    again: bool = False,
    dry_run: bool = False,
    as_json: bool = False,
    show: Show | None = None,
    opening: Opening = opened_in_use,
    fit: Fit = assert_schema,
) -> NoReturn:
    """Run a job to its end and leave with its exit code; raises only `typer.Exit`.

    On stdout stands what `show` prints, or a table of counts and outcome, or with `as_json` the whole summary, or the
    error. Ctrl-C and SIGTERM end the run so that the same command goes on with it. `opening` and `fit` say what must
    be there before the job begins: event store and schema, unless a job needs less.
    """
    command = Foreground(job, arguments, (interval,), again, dry_run, opening, fit)
    _to_the_end(command, as_json, show or print_result)


def back_fill_in_foreground(
    job: Job[A], arguments: A, intervals: Sequence[str], *, again: bool, dry_run: bool, as_json: bool
) -> NoReturn:
    """The same for one interval after another, each a run of its own; the first that does not succeed is the last."""
    _to_the_end(Foreground(job, arguments, tuple(intervals), again, dry_run), as_json, None)


@dataclass(frozen=True, slots=True)
class Foreground(Generic[A]):
    """A command that runs a job, once for each interval."""

    job: Job[A]
    arguments: A
    intervals: tuple[str | None, ...]
    again: bool
    dry_run: bool
    opening: Opening = opened_in_use
    fit: Fit = assert_schema

    async def run(self, done: list[Result]) -> ExitCode:
        """Run it, and put what is done into `done`, one after another."""
        settings, clock = load_settings(), SystemClock()
        give_way(settings.jobs.nice)
        async with self.opening(settings) as database:
            await self.fit(settings, database)
            writable = await past_validators(database, settings.mongodb.external_collections)
            async with tracing() as spans:
                metrics = Metrics(catalogue=writable.catalogue)
                parts = Parts(writable, settings, clock, metrics, tracing=spans)
                for interval in self.intervals:
                    with shown(" ".join(filter(None, [self.job.name, interval])), clock) as observe:
                        runner = Runner(parts, settings.jobs.who, observe, _say_that_it_goes_on)
                        done.append(await self._run(runner, interval))
        if any(result.run.status == "cancelled" for result in done):
            return ExitCode.CANCELLED  # some time ago, and nobody has done it since
        return ExitCode.DIFFERENCE if any(map(self._differs, done)) else ExitCode.OK

    async def _run(self, runner: Runner, interval: str | None) -> Result:
        return await runner.run(
            self.job, self.arguments, interval=interval, again=self.again, dry_run=self.dry_run
        )

    def _differs(self, result: Result) -> bool:
        return result.run.outcome is not None and self.job.differs(result.run.outcome)


def _to_the_end(command: Foreground[Any], as_json: bool, show: Show | None) -> NoReturn:
    # SIGTERM is an orchestrator's way to say Ctrl-C, which shells have background jobs ignore.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))

    async def work() -> ExitCode:
        tune_collector()
        done: list[Result] = []
        try:
            code = await command.run(done)
        except WorkerError as error:
            if as_json:
                print_json(_failed(command.job.name, error, done))
            raise
        for each in done:
            if each.unnoted is not None:
                say(f"run {each.run.id}: {each.unnoted}; the next run of a job puts that right")
        if as_json:
            print_json([summary(each) for each in done] if show is None else summary(done[0]))
        elif show is not None:
            show(done[0])
        else:
            print_results(done)
        return code

    end_with(work, interrupted=lambda: _GOES_ON)


def _say_that_it_goes_on(run: JobRun, former: Former | None) -> None:
    """Who wanted to begin anew has to know: what former attempts have done is not done again."""
    if former is not None:
        of = "" if run.progress.total is None else f" of {run.progress.total:,}"
        say(
            f"goes on with run {run.id} of {former.since:%Y-%m-%d %H:%M} UTC, last run by {former.who}, at "
            f"{run.progress.done:,}{of}; to begin anew, `sevenp-worker jobs cancel {run.id}` first"
        )


def _failed(job: str, error: WorkerError, done: Sequence[Result]) -> dict[str, Any]:
    told = {"job": job, "error": str(error), "kind": type(error).__name__}
    return {**told, "done": [each.run.id for each in done]}


def summary(result: Result) -> dict[str, Any]:
    """What scripts are told of a run that is done."""
    run = result.run
    seconds = None if run.finished_at is None else (run.finished_at - run.attempted_at).total_seconds()
    done = {"already_done": result.already, "seconds": seconds, "audit_missing": result.unnoted is not None}
    return {**run_as_json(run), **done, **_resumed(result.former)}


def _resumed(former: Former | None) -> dict[str, Any]:
    """Whether a run went on that was begun before: since when it is under way, whose it was, how far it had come."""
    if former is None:
        return {"resumed": False}
    from_where = {"who": former.who, "since": plain(former.since), "done": former.done}
    return {"resumed": True, "resumed_from": from_where}


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
        ("state", _state(result)),
        *_rows({name: f"{number:,}" for name, number in run.counts.items()}),
        *_rows(result.outcome),
    ]
    print_table(rows, ("field", "value"))


def print_rest(result: Result, outcome: Mapping[str, Any]) -> None:
    """As `print_result`, with what of its outcome is not shown in another way."""
    print_result(replace(result, run=result.run.model_copy(update={"outcome": dict(outcome)})))


def print_results(results: Sequence[Result]) -> None:
    """One line for each."""
    rows = []
    for result in results:
        counts = ", ".join(f"{name} {number:,}" for name, number in result.run.counts.items())
        rows.append((result.run.interval or "", result.run.id, _state(result), counts))
    print_table(rows, ("interval", "run", "state", "counts"))


def _state(result: Result) -> str:
    before = f", before: {result.run.saved_at:%Y-%m-%d %H:%M} UTC" if result.already else ""
    former = result.former
    since = f", under way since {former.since:%Y-%m-%d %H:%M} UTC by {former.who}" if former else ""
    return f"{result.run.status}{before}{since}{' (dry run)' if result.run.dry_run else ''}"


def _rows(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), str(plain(value))) for name, value in values.items()]
