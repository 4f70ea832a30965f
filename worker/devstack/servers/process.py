"""Server processes that never outlive their owner, and whose log explains a failed start."""

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from worker.errors import Fatal

TERM_GRACE_S = 15.0  # mongod's clean shutdown writes one checkpoint; beyond this it does not end
LOG_TAIL_BYTES = 4_000  # about 40 lines: enough to see why a server ended
POLL_S = 0.05  # servers need about a second to start; finer polling only burns their CPU
START_ATTEMPTS = 3  # a free port may be taken by somebody else before the server binds it
PR_SET_PDEATHSIG = 1  # linux/prctl.h

ADDRESS_IN_USE = "Address already in use"  # in the log of a server whose port somebody took

OTHER_WAYS = (
    "use servers of your own by setting SEVENP_MONGODB_URI (a replica set) and "
    "SEVENP_KAFKA_BOOTSTRAP_SERVERS, or start both with `docker compose up`"
)


class StartFailed(Fatal):
    """A server of the dev stack did not start; the message ends with the tail of its log."""


class Stoppable(Protocol):
    """A server that can be ended."""

    def stop(self) -> None:
        """End it; blocks until it is gone."""


S = TypeVar("S", bound=Stoppable)


class Started(Protocol):
    """A server that was started here, in whichever way: it may have ended, and its log says why."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def require_alive(self) -> None:
        """Raise StartFailed with the log's tail when it has ended."""
        ...

    def log_tail(self) -> str:
        """Last lines of the log, safe to print."""
        ...


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """One child process with its log file. It dies with this process, even after SIGKILL (on Linux)."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, or None while it runs."""
        return self.popen.poll()

    def log_tail(self) -> str:
        """Last lines of the log, safe to print."""
        return tail(self.log)

    def require_alive(self) -> None:
        """Raise StartFailed with the log's tail when the process has ended."""
        if self.returncode is not None:
            raise StartFailed(
                f"{self.name} ended with exit code {self.returncode}; its log says:\n{self.log_tail()}"
            )

    def stop(self, grace_s: float = TERM_GRACE_S) -> None:
        """SIGTERM, SIGKILL after `grace_s` seconds; blocks until it is gone. Stopping twice is harmless."""
        if self.popen.poll() is not None:
            return
        self.popen.terminate()
        try:
            self.popen.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


def spawn(
    name: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> ServerProcess:
    """Start a process with its output in `log`, in our environment with `environment` on top.

    Call it from a thread that lives as long as the child shall: Linux ties the child to the thread.
    """
    with log.open("ab") as output:
        popen = subprocess.Popen(  # noqa: S603 - arguments are built by this package, never by a shell
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else {**os.environ, **environment},
            start_new_session=True,  # Ctrl-C in a terminal reaches us alone; we stop the others in order
            preexec_fn=_death_signal(),
        )
    return ServerProcess(name, popen, log)


def _death_signal() -> "DieWithParent | None":
    return DieWithParent() if sys.platform == "linux" else None


class DieWithParent:
    """Runs in the forked child: the kernel terminates it when its parent is gone."""

    def __init__(self) -> None:
        # Loaded before the fork: a child of a threaded process must not load libraries.
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._parent = os.getpid()

    def __call__(self) -> None:
        self._libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != self._parent:  # the parent died before the signal was set
            os._exit(1)


def tail(path: Path, size_bytes: int = LOG_TAIL_BYTES) -> str:
    """Last `size_bytes` of a text file, cut at a line; empty when there is no file."""
    try:
        with path.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            start = max(0, length - size_bytes)
            file.seek(start)
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return text if start == 0 else text.partition("\n")[2]


def free_port() -> int:
    """A loopback TCP port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def start_serving(
    start: Callable[[], S], serves: Callable[[S], Awaitable[None]], port_taken: Callable[[S], bool]
) -> S:
    """Start a server and return it once it `serves`: again, on other ports, where somebody took them before it did.

    Raises StartFailed with the log's tail; a server that does not serve is stopped.
    """
    for attempts_left in reversed(range(START_ATTEMPTS)):
        server = start()
        try:
            await serves(server)
        except BaseException as error:
            await asyncio.to_thread(server.stop)
            if not isinstance(error, StartFailed) or not attempts_left or not port_taken(server):
                raise
        else:
            return server
    raise AssertionError("unreachable: the last attempt returns or raises")


async def wait_for_port(process: ServerProcess, port: int, limit_s: float) -> None:
    """Return once something accepts connections on the loopback port; StartFailed otherwise."""
    end = asyncio.get_running_loop().time() + limit_s
    while True:
        process.require_alive()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if asyncio.get_running_loop().time() > end:
                message = f"{process.name} did not listen on port {port} within {limit_s:.0f} s"
                raise StartFailed(f"{message}; its log says:\n{process.log_tail()}") from None
            await asyncio.sleep(POLL_S)
        else:
            writer.close()
            await writer.wait_closed()
            return
