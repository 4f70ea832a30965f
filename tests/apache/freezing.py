"""Runs the worker's command line and stops its own process (SIGSTOP) when a file orders it; no hooks in the worker.

It happens just before an insert into the time series is sent: what a zombie sends first when it goes on. The file
is removed at that moment.
"""

import os
import runpy
import signal
import sys
from pathlib import Path

from pymongo import monitoring

ORDER_VARIABLE = "FREEZE_ORDER"


class Freezer(monitoring.CommandListener):
    """Watches every command of every client of this process."""

    def __init__(self, order: Path) -> None:
        self._order = order

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command.get("insert") == "user_interactions" and self._order.exists():
            self._order.unlink()
            os.kill(os.getpid(), signal.SIGSTOP)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to do."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to do."""


def main() -> None:
    """Arm, then become `python -m worker` with the remaining arguments."""
    monitoring.register(Freezer(Path(os.environ[ORDER_VARIABLE])))
    sys.argv[0] = "sevenp-worker"
    runpy.run_module("worker", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
