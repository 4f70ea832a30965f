"""The command line: arguments in, one call, a table or one clear line out, a documented exit code. No logic."""

from worker.cli.commands import app
from worker.telemetry.logs import configure_logging


def main() -> None:
    """Entry point of the script `sevenp-worker`.

    What has to be logged goes to stderr from the first line on: stdout belongs to tables and JSON.
    """
    configure_logging("warning")
    app(prog_name="sevenp-worker")


__all__ = ["main"]
