"""The command line: arguments in, one call, a table or one clear line out, a documented exit code. No logic."""

from worker.cli.commands import app
from worker.cli.output import take_over_streams
from worker.cli.starting import run_app


def main() -> None:
    """Run the command that the process's arguments name; raises SystemExit with its exit code."""
    take_over_streams()
    run_app(app, _begin_to_log)


def _begin_to_log() -> None:
    """What has to be logged goes to stderr from the first line on: stdout belongs to tables and JSON.

    Libraries are silent there: what a command cannot do, its error says, in words.
    """
    from worker.settings import log_format  # noqa: PLC0415 - help and completion need none of it
    from worker.telemetry.logs import configure_logging  # noqa: PLC0415

    configure_logging("warning", libraries="critical", form=log_format())


__all__ = ["main"]
