"""`python -m tests.support.schedule_command`: the scheduler as a process, whose one job is `count` of the tests.

With `KILL_AT` in the environment it ends by SIGKILL at one of its writes: see `tests.support.job_command`.
"""

import typer

from tests.support.job_command import COUNT, obey_kill_at
from worker.app.scheduling import serve_schedule
from worker.app.signals import StopSignal
from worker.cli.ending import end_with
from worker.cli.output import take_over_streams
from worker.cli.starting import run_app
from worker.settings import load_settings
from worker.telemetry.logs import configure_logging

app = typer.Typer()


@app.command()
def schedule() -> None:
    """Run the schedule of the settings."""
    signals = StopSignal()
    signals.install()

    async def work() -> None:
        await serve_schedule(load_settings(), signals.event(), jobs=(COUNT,))

    end_with(work)


if __name__ == "__main__":
    obey_kill_at()
    take_over_streams()
    configure_logging("info")
    run_app(app)
