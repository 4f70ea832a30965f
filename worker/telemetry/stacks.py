"""Where every asyncio task stands, as text for a log line. Frames only: names, files, lines, never values."""

import asyncio
import sys
import traceback
from collections.abc import Collection
from types import CoroutineType
from typing import Any

_INNERMOST_FRAMES = 12


def describe_tasks(
    loop: asyncio.AbstractEventLoop, loop_thread_id: int, first: Collection[str] = ()
) -> list[str]:
    """One text per task of `loop`, and what its thread runs now. Safe to call from another thread.

    Tasks whose name is in `first` come first, then the others by name.
    """
    ordered = sorted(
        asyncio.all_tasks(loop), key=lambda task: (task.get_name() not in first, task.get_name())
    )
    tasks = [f"task {task.get_name()}: {_awaits(task.get_coro())}" for task in ordered]
    running = sys._current_frames().get(loop_thread_id)  # noqa: SLF001 - documented; nothing else sees a thread
    if running is None:
        return tasks
    # The outer half of the stack is the same in every worker: runner, loop, handle.
    stack = traceback.extract_stack(running)[-_INNERMOST_FRAMES:]
    return [f"event loop: {_join(stack)}", *tasks]


def _awaits(awaited: Any) -> str:
    """The chain of awaits from a task's coroutine down to what it waits for."""
    steps: list[str] = []
    while isinstance(awaited, CoroutineType) and awaited.cr_frame is not None:
        frame = awaited.cr_frame
        steps.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}")
        awaited = awaited.cr_await
    if awaited is not None:
        steps.append(type(awaited).__name__)
    return " > ".join(steps)


def _join(stack: list[traceback.FrameSummary]) -> str:
    return " > ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in stack)
