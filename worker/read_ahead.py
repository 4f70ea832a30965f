"""Items of a source that may keep a reader waiting, read beside the event loop as they come."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, Queue
from threading import Event, Thread
from typing import Generic, TypeVar

from worker.timing import in_thread

T = TypeVar("T")

THREAD = "read-ahead"
"""The name of the thread that reads."""


@dataclass(frozen=True, slots=True)
class _End:
    """Nothing more comes; with the error where the source ended with one."""

    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class _Reader(Generic[T]):
    """What a thread of its own has read, and whether anybody still wants it."""

    items: Iterable[T]
    read: "Queue[T | _End]"
    left: Event

    def run(self) -> None:
        end = _End()
        try:
            for item in self.items:
                if self.left.is_set():  # somebody may still wait in `take`
                    break
                self.read.put(item)
        except BaseException as error:  # it is raised where the items are awaited
            end = _End(error)
        self.read.put(end)

    def take(self, most: int) -> "list[T | _End]":
        """What is there, of which the first is waited for."""
        taken = [self.read.get()]
        with suppress(Empty):
            while len(taken) < most:
                taken.append(self.read.get_nowait())
        return taken

    def leave(self) -> None:
        """Let the thread end at the next item, which finds room."""
        self.left.set()
        with suppress(Empty):
            while True:
                self.read.get_nowait()


async def read_ahead(items: Iterable[T], most: int) -> AsyncGenerator[list[T], None]:
    """The items in their order, in lists of 1 to `most`: those that have come since the list before.

    At most `most` further ones are read ahead. Raises what `items` raises, behind what came before it. Whoever leaves
    early leaves the thread waiting for its next item; it keeps no process alive.
    """
    reader = _Reader(items, Queue(most), Event())
    Thread(target=reader.run, name=THREAD, daemon=True).start()
    try:
        while True:
            taken = await in_thread(partial(reader.take, most))
            come = [item for item in taken if not isinstance(item, _End)]
            if come:
                yield come
            end = taken[-1]
            if isinstance(end, _End):
                if end.error is not None:
                    raise end.error
                return
    finally:
        reader.leave()
