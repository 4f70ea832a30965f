"""One point in the run of a process, and what is done to the world when the process comes to it."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.chaos.shape import shapes

Side = Literal["before", "after"]

# How long the proxy may take to say that it will lose replies.
_TOLD_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class KillPoint:
    """One side of the n-th occurrence (from 1) of a command on a target.

    A target is a collection, a shape of a command (see `shape`), or `collection~text` for the commands on a
    collection that have the text in them. Several commands are separated by `|`.
    """

    side: Side
    command: str
    target: str
    occurrence: int = 1

    def __str__(self) -> str:
        return f"{self.side}:{self.command}:{self.target}:{self.occurrence}"

    @classmethod
    def parse(cls, text: str) -> "KillPoint":
        """The opposite of `str()`. Raises ValueError."""
        side, command, target, occurrence = text.split(":")
        if side not in ("before", "after"):
            raise ValueError(f"{side} is neither before nor after")
        return cls("before" if side == "before" else "after", command, target, int(occurrence))

    def covers(self, name: str, command: Mapping[str, Any]) -> bool:
        """Whether this is one of the commands that are counted."""
        if name not in self.command.split("|"):
            return False
        wanted, _, part = self.target.partition("~")
        if part:
            return str(command.get(name)) == wanted and part in str(command)
        return wanted in shapes(name, command)


@dataclass(frozen=True, slots=True)
class Crash:
    """What the process writes down first: `read` are the next offsets the worker had not been given yet.

    `at` is the wall clock's time in seconds; who compares it runs on the same machine.
    """

    point: str
    pid: int
    read: dict[str, int]
    at: float = 0.0


@dataclass
class FaultInjector:
    """Counts occurrences of its point and acts, once, at the right side of the right one.

    `act` is what happens after the report is on disk: by default the process dies at once, without any clean-up.
    """

    point: KillPoint
    report: Path
    act: Callable[[], None] = field(default=lambda: os.kill(os.getpid(), signal.SIGKILL))
    read: dict[str, int] = field(default_factory=dict)
    occurrences: int = 0

    def begins(self) -> bool:
        """An occurrence is about to be sent; True if it is the one whose end counts."""
        self.occurrences += 1
        if self.occurrences != self.point.occurrence:
            return False
        if self.point.side == "before":
            self.inject()
            return False
        return True

    def inject(self) -> None:
        """Write the report to disk and act."""
        crash = Crash(str(self.point), os.getpid(), dict(self.read), time.time())
        append_line(self.report, asdict(crash))
        self.act()


def acting(text: str | None) -> Callable[[], None]:
    """The act an environment variable names: nothing for this process's crash, `stop`, `kill:PID`, `tell:PORT`.

    A process that is stopped goes on from its point when somebody sends it SIGCONT.

    Raises ValueError for anything else.
    """
    word, _, number = (text or "die:0").partition(":")
    match word:
        case "die":
            return lambda: os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            return lambda: os.kill(os.getpid(), signal.SIGSTOP)
        case "kill":
            return lambda: os.kill(int(number), signal.SIGKILL)
        case "tell":
            return lambda: _tell(int(number))
    raise ValueError(f"{text} is no act")


def _tell(port: int) -> None:
    """Tell whoever listens that the point is reached, and go on once it has answered."""
    with socket.create_connection(("127.0.0.1", port), timeout=_TOLD_LIMIT_S) as connection:
        connection.sendall(b"reached\n")
        if not connection.recv(1):
            raise ConnectionError("the listener did not answer")


def append_line(path: Path, fields: Mapping[str, Any]) -> None:
    """One JSON line, on disk when this returns."""
    line = (json.dumps(fields) + "\n").encode()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(file, line)
        os.fsync(file)
    finally:
        os.close(file)
