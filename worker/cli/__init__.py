"""The command line: arguments in, one call, a table or one clear line out, a documented exit code. No logic."""

from worker.cli.commands import app
from worker.cli.ending import run_app
from worker.cli.output import take_over_streams
from worker.settings import log_format
from worker.telemetry.logs import configure_logging


def main() -> None:
    """Run the command that the process's arguments name; raises SystemExit with its exit code.

    What has to be logged goes to stderr from the first line on: stdout belongs to tables and JSON. Libraries are
    silent there: what a command cannot do, its error says, in words.
    """
    take_over_streams()
    configure_logging("warning", libraries="critical", form=log_format())
    run_app(app)


__all__ = ["main"]
