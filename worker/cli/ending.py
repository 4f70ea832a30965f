"""How every command ends: one clear line on stderr for an error, and a documented exit code."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog
import typer
from rich.console import Console

from worker.app.exits import ExitCode, exit_code
from worker.errors import WorkerError
from worker.telemetry.logs import describe
from worker.timing import end_within

log = structlog.get_logger(__name__)

# Tasks that are left over when the work is done end at once, but for one that waits for what never comes.
_LEFT_OVER_S = 5.0


def end_with(work: Callable[[], Awaitable[int]]) -> None:
    """Run a command's work to its end and leave with its exit code; raises only `typer.Exit`."""
    raise typer.Exit(int(_run(work)))


def _run(work: Callable[[], Awaitable[int]]) -> int:
    with asyncio.Runner() as runner:
        code = _code_of(runner, work)
        if stuck := runner.run(_end_what_is_left()):
            _leave(code, stuck)
    return code


def _code_of(runner: asyncio.Runner, work: Callable[[], Awaitable[int]]) -> int:
    try:
        return runner.run(_awaited(work))
    except WorkerError as error:
        say_error(str(error))
        return exit_code(error)
    except OSError as error:  # a file of the command line; connections have errors of their own
        say_error(str(error))
        return ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:  # the outermost frame of the process
        say_error(f"a defect in the worker, please report it:\n{describe(error)}")
        return ExitCode.DEFECT


async def _end_what_is_left() -> list[str]:
    """Names of the tasks that did not end although they were told to."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    await end_within(_LEFT_OVER_S, *left)
    return [task.get_name() for task in left if not task.done()]


def _leave(code: int, stuck: list[str]) -> NoReturn:
    """End the process as it is: asyncio would wait for such tasks for ever. What is durable stays so."""
    log.warning("tasks_left_behind", tasks=sorted(stuck))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _awaited(work: Callable[[], Awaitable[int]]) -> int:
    return await work()


def say_error(message: str) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"sevenp-worker: error: {message}", style="bold red", markup=False)
