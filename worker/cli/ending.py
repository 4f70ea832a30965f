"""How every command ends: one clear line on stderr for an error, and a documented exit code."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import NoReturn, ParamSpec, TypeAlias

import structlog
import typer
from rich.console import Console

from worker.app.exits import ExitCode, exit_code
from worker.cli.output import visible
from worker.cli.starting import WRONG_ARGUMENTS
from worker.errors import WorkerError
from worker.telemetry.logs import describe
from worker.timing import cancel_and_wait, cancel_within
from worker.words import in_words

log = structlog.get_logger(__name__)

P = ParamSpec("P")
Work: TypeAlias = Callable[P, Awaitable[int | None]]

# Tasks that are left over when the work is done end at once, but for one that waits for what never comes.
_LEFT_OVER_S = 5.0
# What a command says that only reads.
_ONLY_LOOKED = "it only looked, nothing was changed"


def run_to_end(interrupted: str = _ONLY_LOOKED) -> Callable[[Work[P]], Callable[P, None]]:
    """Makes a command of a function that does its work and returns its exit code, or None when all went well.

    `interrupted` says what is left behind when Ctrl-C ends the work in its middle.
    """

    def command_of(work: Work[P]) -> Callable[P, None]:
        @wraps(work)
        def command(*arguments: P.args, **options: P.kwargs) -> None:
            end_with(partial(work, *arguments, **options), interrupted=lambda: interrupted)

        return command

    return command_of


def end_with(work: Work[[]], *, interrupted: Callable[[], str] = lambda: _ONLY_LOOKED) -> NoReturn:
    """Run a command's work to its end and leave with its exit code; raises only `typer.Exit`.

    `interrupted` is asked what is left behind when Ctrl-C ends the work in its middle.
    """
    with asyncio.Runner() as runner:
        code = _code_of(runner, work, interrupted)
        if stuck := runner.run(_end_what_is_left()):
            _leave(code, stuck)
    raise typer.Exit(code)


def _code_of(runner: asyncio.Runner, work: Work[[]], interrupted: Callable[[], str]) -> int:
    try:
        return int(runner.run(_awaited(work)) or ExitCode.OK)
    except WRONG_ARGUMENTS:
        raise  # told by `run_app`, with the usage of the command
    except WorkerError as error:
        say_error(str(error))
        return exit_code(error)
    except OSError as error:  # a file of the command line; connections have errors of their own
        say_error(f"{error.filename}: {in_words(error)}" if error.filename else in_words(error))
        return ExitCode.USAGE
    except KeyboardInterrupt:
        say(f"interrupted: {interrupted()}")
        return ExitCode.INTERRUPTED
    except Exception as error:  # the outermost frame of the process
        say_error(f"a defect in the worker, please report it:\n{describe(error)}")
        return ExitCode.DEFECT


async def _end_what_is_left() -> list[str]:
    """Names of the tasks that did not end although they were told to."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    await cancel_within(_LEFT_OVER_S, *left)
    return [task.get_name() for task in left if not task.done()]


def _leave(code: int, stuck: list[str]) -> NoReturn:
    """End the process as it is: asyncio would wait for such tasks for ever. What is durable stays so."""
    log.warning("tasks_left_behind", tasks=sorted(stuck))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _awaited(work: Work[[]]) -> int | None:
    """The work as a task of its own: a driver may lose the one cancellation that Ctrl-C is, so it is repeated."""
    working = asyncio.ensure_future(work())
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await cancel_and_wait(working)
        raise


def say(message: str, style: str | None = None) -> None:
    """One line on stderr, for people."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"sevenp-worker: {visible(message)}", style=style, markup=False)


def say_error(message: str) -> None:
    """One line on stderr that says what is wrong."""
    say(f"error: {message}", "bold red")
