"""Starts workers in no time: one process has imported everything once, and each worker is a fork of it.

Most of a short run would be spent on imports. A forked worker is a process like any other, with its own arguments,
log, environment and session, and ends with the pool as the pool ends with its owner. Requests are JSON lines.
"""

import atexit
import functools
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from worker import cli  # noqa: F401 - imported before the fork, that is the point
from worker.devstack.servers.process import DieWithParent, ServerProcess

# Between two looks for the end of a process that is not our child: nothing tells us of it.
_POLL_S = 0.01
_STOP_S = 20.0


class WorkerPool:
    """The owner's side. Call `close` at the end: it ends whoever still runs."""

    def __init__(self, log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.worker_pool"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                preexec_fn=DieWithParent(),
            )
        self._lock = threading.Lock()

    def start(
        self,
        name: str,
        log: Path,
        environment: Mapping[str, str],
        arguments: Sequence[str] = ("run",),
        module: str = "worker",
    ) -> ServerProcess:
        """`python -m MODULE ARGUMENTS` with its output in `log`, and this on top of our environment."""
        log.touch()
        request = {
            "module": module,
            "arguments": list(arguments),
            "log": str(log.absolute()),
            "folder": str(Path.cwd()),
            "environment": {**os.environ, **environment},
        }
        return ServerProcess(
            name, cast("subprocess.Popen[bytes]", PooledWorker(self, self._asked(request))), log
        )

    def returncode(self, pid: int) -> int | None:
        """As Popen has it: the negative signal for a process that was killed."""
        code = self._asked({"pid": pid})
        return None if code is None else int(code)

    def close(self) -> None:
        """End the pool and, by that, its workers; blocks until it is gone."""
        self._process.terminate()
        self._process.wait(_STOP_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _asked(self, request: Mapping[str, Any]) -> Any:
        with self._lock:
            if self._process.stdin is None or self._process.stdout is None:
                raise OSError("the pool has no pipes")
            self._process.stdin.write((json.dumps(request) + "\n").encode())
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())


@functools.cache
def shared_pool() -> WorkerPool:
    """The pool of this test process, from its first use to the end; to be called from the thread that outlives it."""
    pool = WorkerPool(Path(os.devnull))
    atexit.register(pool.close)
    return pool


class PooledWorker:
    """What the harness needs of a `Popen`, for a process that is the pool's child."""

    def __init__(self, pool: WorkerPool, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._pool = pool

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._pool.returncode(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            time.sleep(_POLL_S)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def main() -> None:
    """Fork when asked to, tell how children ended; a child leaves this loop and becomes the worker."""
    dies_with_us = DieWithParent()
    while line := os.read(0, 1 << 20):
        while not line.endswith(b"\n"):
            line += os.read(0, 1 << 20)
        request = json.loads(line)
        if "pid" in request:
            _answer(_code(request["pid"]))
        elif pid := os.fork():
            _answer(pid)
        else:
            dies_with_us()
            _become(request)
            return


def _become(request: Mapping[str, Any]) -> None:
    """In the child: a session, a log and an environment of its own, and then the module."""
    os.setsid()
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if encoding := os.environ.get("PYTHONIOENCODING"):
        sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115 - for as long as we live
    sys.argv[1:] = request["arguments"]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


def _code(pid: int) -> int | None:
    """None while it runs; asked only until there is an answer."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _answer(value: object) -> None:
    os.write(1, (json.dumps(value) + "\n").encode())


if __name__ == "__main__":
    main()
