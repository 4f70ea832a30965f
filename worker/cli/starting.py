"""How a command line is run: the command that the arguments name, and the exit code of whatever becomes of it."""

import sys
from collections.abc import Callable
from typing import Any, NoReturn

import typer

from worker.app.exits import ExitCode

# The root of everything that is wrong with arguments; where it lives depends on the version of typer.
WRONG_ARGUMENTS: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def run_app(app: typer.Typer, prepare: Callable[[], None] | None = None) -> NoReturn:
    """Run the command that the arguments name; raises SystemExit with its exit code, and nothing else.

    `prepare` is called before a command of a lazy group is imported; for help and completion it is not.
    """
    try:
        code = app(prog_name="sevenp-worker", standalone_mode=False, obj=prepare)
    except WRONG_ARGUMENTS as error:
        from pydantic import ValidationError  # noqa: PLC0415 - the help needs none of it

        from worker.mistakes import words_for  # noqa: PLC0415

        if isinstance(error.__cause__, ValidationError):
            error.message = "; ".join(map(words_for, error.__cause__.errors(include_url=False)))
        error.show()
        code = error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = ExitCode.INTERRUPTED
    sys.exit(int(code or ExitCode.OK))
