"""The worker and its commands as processes: what they print, what they cost, and the end by a kill."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import usage
from worker.devstack.servers.process import DieWithParent

_LOOK_EVERY_S = 0.02  # a command whose memory is watched lasts seconds


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that came to its end, or was killed; `summary` is what it printed as JSON."""

    code: int
    seconds: float
    cpu_s: float
    peak_bytes: int
    summary: Mapping[str, Any]
    errors: str


@dataclass(frozen=True, slots=True)
class Commands:
    """Runs `python -m worker …` on one system, whose settings are `environment`."""

    folder: Path
    environment: Mapping[str, str]

    def run(
        self, *arguments: str, kill_after_s: float | None = None, kill: threading.Event | None = None
    ) -> Ended:
        """Blocks until it has ended; kill -9 after so long, or once `kill` is set, if it lives still."""
        output, errors = self.folder / "command.out", self.folder / "command.err"
        began = time.monotonic()
        with output.open("wb") as out, errors.open("wb") as err:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter on our own module
                [sys.executable, "-m", "worker", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **self.environment},
                start_new_session=True,
                preexec_fn=DieWithParent(),
            )
        peak_bytes = _watch(process, kill_after_s, kill or threading.Event())
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        text = output.read_text()
        return Ended(
            process.returncode,
            time.monotonic() - began,
            used.ru_utime + used.ru_stime,
            peak_bytes,
            json.loads(text) if text.startswith("{") else {},
            errors.read_text()[-2_000:],
        )


def _watch(process: "subprocess.Popen[bytes]", kill_after_s: float | None, kill: threading.Event) -> int:
    """Until it has ended, or is killed; returns the most memory it was seen with.

    What `wait4` says of memory begins with that of the process which started it.
    """
    end, peak_bytes = time.monotonic() + (kill_after_s or float("inf")), 0
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        peak_bytes = max(peak_bytes, usage(process.pid).peak_bytes)
        if kill.is_set() or time.monotonic() >= end:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(_LOOK_EVERY_S)
    return peak_bytes
