"""How every command ends: one clear line on stderr for an error, and a documented exit code."""

import asyncio
from collections.abc import Awaitable, Callable

import typer
from rich.console import Console

from worker.app.exits import ExitCode, exit_code
from worker.errors import WorkerError
from worker.telemetry.logs import describe


def end_with(work: Callable[[], Awaitable[int]]) -> None:
    """Run a command's work to its end and leave with its exit code; raises only `typer.Exit`."""
    raise typer.Exit(int(_run(work)))


def _run(work: Callable[[], Awaitable[int]]) -> int:
    try:
        return asyncio.run(_awaited(work))
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


async def _awaited(work: Callable[[], Awaitable[int]]) -> int:
    return await work()


def say_error(message: str) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"sevenp-worker: error: {message}", style="bold red", markup=False)
