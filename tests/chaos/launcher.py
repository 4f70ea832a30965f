"""Runs the worker's command line and kills its own process with SIGKILL at one chosen point; no hooks in the worker.

    CHAOS_KILL=after:insert:course_events:3 CHAOS_REPORT=report.jsonl python -m tests.chaos.launcher run

kills before the third insert into `course_events` is sent, or after it was answered. `update:leases~burns` are
only the updates whose text has "burns"; `insert|update:user_progress` are both. Kafka's commit of offsets is
`commit:offsets`, the end of a transaction `commitTransaction:1`. Without CHAOS_KILL the worker just runs. The
report gets one line before the process dies.
"""

import functools
import json
import os
import runpy
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

from aiokafka import AIOKafkaConsumer
from pymongo import monitoring

POINT_VARIABLE = "CHAOS_KILL"
REPORT_VARIABLE = "CHAOS_REPORT"

Side = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class KillPoint:
    """One side of the n-th occurrence (from 1) of a command on a collection, or of the commit of offsets."""

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

    def covers(self, command: str, collection: object, text: Callable[[], str]) -> bool:
        """Whether this is one of the commands that are counted; `text` is only asked for where the point needs it."""
        wanted, _, part = self.target.partition("~")
        return (
            command in self.command.split("|") and str(collection) == wanted and (not part or part in text())
        )


@dataclass(frozen=True, slots=True)
class Death:
    """What the process writes down before it dies: `read` are the next offsets the worker had not been given yet."""

    point: str
    pid: int
    read: dict[str, int]


@dataclass
class Executioner:
    """Counts occurrences of its point and kills the process at the right side of the right one."""

    point: KillPoint
    report: Path
    read: dict[str, int] = field(default_factory=dict)
    met: int = 0

    def begins(self) -> bool:
        """An occurrence is about to be sent; True if it is the one whose end counts."""
        self.met += 1
        if self.met != self.point.occurrence:
            return False
        if self.point.side == "before":
            self.kill()
        return True

    def kill(self) -> NoReturn:
        """Write the report to disk and die at once, without any clean-up."""
        death = Death(str(self.point), os.getpid(), dict(self.read))
        line = (json.dumps(asdict(death)) + "\n").encode()
        file = os.open(self.report, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, line)
        os.fsync(file)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable: SIGKILL cannot be survived")


class KillingListener(monitoring.CommandListener):
    """Watches every command of every client of this process."""

    def __init__(self, executioner: Executioner) -> None:
        self._executioner = executioner
        self._awaited: set[int] = set()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        point, command = self._executioner.point, event.command
        if not point.covers(event.command_name, command.get(event.command_name), lambda: str(command)):
            return
        if self._executioner.begins():
            self._awaited.add(event.request_id)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        if event.request_id in self._awaited:
            self._executioner.kill()

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """A refused command counts as answered: its point has passed."""
        if event.request_id in self._awaited:
            self._executioner.kill()


def watch_consumer(executioner: Executioner) -> None:
    """Note what the consumer hands out, and take its commit as a command."""
    getmany, commit = AIOKafkaConsumer.getmany, AIOKafkaConsumer.commit

    @functools.wraps(getmany)
    async def noted_getmany(self: AIOKafkaConsumer, *arguments: Any, **options: Any) -> Any:
        polled = await getmany(self, *arguments, **options)
        for partition, records in polled.items():
            if records:
                executioner.read[f"{partition.topic}:{partition.partition}"] = records[-1].offset + 1
        return polled

    @functools.wraps(commit)
    async def watched_commit(self: AIOKafkaConsumer, *arguments: Any, **options: Any) -> Any:
        covered = executioner.point.covers("commit", "offsets", str)
        awaited = covered and executioner.begins()
        result = await commit(self, *arguments, **options)
        if awaited:
            executioner.kill()
        return result

    AIOKafkaConsumer.getmany, AIOKafkaConsumer.commit = noted_getmany, watched_commit


def main() -> None:
    """Arm, then become `python -m worker` with the remaining arguments."""
    point = os.environ.get(POINT_VARIABLE)
    if point:
        executioner = Executioner(KillPoint.parse(point), Path(os.environ[REPORT_VARIABLE]))
        monitoring.register(KillingListener(executioner))
        watch_consumer(executioner)
    sys.argv[0] = "sevenp-worker"
    runpy.run_module("worker", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
