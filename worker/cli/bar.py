"""How far a job has come, on stderr: a bar on a terminal, a sentence every few seconds anywhere else."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from worker.cli.ending import say
from worker.jobs.context import Observe
from worker.jobs.context import Progress as Steps
from worker.timing import Clock
from worker.words import counted

_SAY_EVERY_S = 10.0


@contextmanager
def shown(name: str, clock: Clock) -> Iterator[Observe]:
    """A function that is told of every step while the block lasts, and shows it."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield Sentences(name, clock).tell
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        _Number(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[waits]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, start=False, total=None, waits="")

        def tell(steps: Steps) -> None:
            if not bar.tasks[0].started:
                # What former attempts have done says nothing about how fast this one is.
                bar.reset(task, completed=steps.done, total=steps.total)
            bar.update(task, completed=steps.done, total=steps.total, waits=steps.waits or "")

        yield tell


class Sentences:
    """Says how far a job has come: at once when it begins to wait or goes on, else every ten seconds."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name, self._clock = name, clock
        self._first: tuple[float, int] | None = None
        self._said_at = clock.monotonic()
        self._waits: str | None = None

    def tell(self, steps: Steps) -> None:
        """Take notice of a step, and say so when it is time."""
        now = self._clock.monotonic()
        self._first = self._first or (now, steps.done)
        if steps.waits == self._waits and now - self._said_at < _SAY_EVERY_S:
            return
        self._said_at, self._waits = now, steps.waits
        say(f"{self._name}: {self._sentence(steps, now)}")

    def _sentence(self, steps: Steps, now: float) -> str:
        began_at, began_with = self._first or (now, steps.done)
        rate = (steps.done - began_with) / (now - began_at) if now > began_at else 0.0
        parts = [f"{steps.done:,} of {steps.total:,} done" if steps.total else f"{steps.done:,} done"]
        if rate:
            parts.append(f"{rate:,.0f} a second")
        if rate and steps.total is not None:
            parts.append(f"about {left((steps.total - steps.done) / rate)} left")
        return ", ".join([*parts, *([steps.waits] if steps.waits else [])])


def left(seconds: float) -> str:
    """A time that is still to come, as people say it."""
    minutes = round(max(0.0, seconds) / 60)
    if minutes >= 120:
        return counted(round(minutes / 60), "hour")
    return counted(minutes, "minute") if minutes >= 2 else counted(round(max(0.0, seconds)), "second")


class _Number(ProgressColumn):
    """`12,000 of 500,000`."""

    def render(self, task: Task) -> Text:
        of = "" if task.total is None else f" of {task.total:,.0f}"
        return Text(f"{task.completed:,.0f}{of}")


class _Rate(ProgressColumn):
    """Steps a second, as of late."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")
