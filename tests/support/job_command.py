"""`python -m tests.support.job_command`: a job of the tests' own as a command, to be killed at any of its writes.

With `KILL_AT` in the environment, `7:before` or `7:after`, the process ends by SIGKILL at its seventh write.
"""

import os
import signal
from typing import Annotated

import typer
from pymongo import monitoring

from worker.cli.foreground import asked, run_in_foreground
from worker.cli.output import take_over_streams
from worker.cli.starting import run_app
from worker.jobs.context import JobContext
from worker.jobs.job import Job, JobArguments, Outcome
from worker.storage.errors import translated
from worker.telemetry.logs import configure_logging

WRITES = frozenset({"insert", "update", "delete", "findAndModify"})

app = typer.Typer()


class CountArguments(JobArguments):
    """How far to count, under which name, and how long a step takes."""

    to: int
    name: str
    step_s: float = 0.0


async def _count(context: JobContext, arguments: CountArguments) -> Outcome:
    """Put each number into `cache`, once however often it is done."""
    begin = (context.checkpoint or {"next": 0})["next"]
    await context.total(arguments.to)
    for number in range(begin, arguments.to):
        await context.keep_alive()
        if not context.dry_run:
            with translated():
                await context.database.cache.update_one(
                    {"_id": f"{arguments.name}:{number}"}, {"$inc": {"times": 1}}, upsert=True
                )
        await context.clock.sleep(arguments.step_s)
        await context.advance(1, {"next": number + 1}, counted=1)
    return {"reached": arguments.to}


COUNT = Job("count", CountArguments, _count, lock=lambda arguments: f"count:{arguments.name}")


@app.command()
def count(
    to: int,
    name: str,
    step_s: float = 0.0,
    interval: Annotated[str | None, typer.Option()] = None,
    again: Annotated[bool, typer.Option("--again")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run")] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Count."""
    wanted = asked(CountArguments, to=to, name=name, step_s=step_s)
    run_in_foreground(COUNT, wanted, interval=interval, again=again, dry_run=dry_run, as_json=as_json)


class _KillAt(monitoring.CommandListener):
    """Ends the process by SIGKILL when it begins a certain write, or when that has its answer."""

    def __init__(self, number: int, when: str) -> None:
        self._number, self._when, self._request = number, when, 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in WRITES:
            self._number -= 1
            if self._number == 0:
                self._request = event.request_id
                self._kill("before")

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        if event.request_id == self._request:
            self._kill("after")

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass

    def _kill(self, when: str) -> None:
        if when == self._when:
            os.kill(os.getpid(), signal.SIGKILL)


def obey_kill_at() -> None:
    """What `KILL_AT` in the environment says, if it says anything."""
    if kill_at := os.environ.pop("KILL_AT", ""):
        number, _, when = kill_at.partition(":")
        monitoring.register(_KillAt(int(number), when))


if __name__ == "__main__":
    obey_kill_at()
    take_over_streams()
    configure_logging("warning", libraries="critical")
    run_app(app)
