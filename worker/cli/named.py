"""What was named and is not there ends a command with 2: a script that acts upon a misspelt id wants to know."""

from collections.abc import Collection

from worker.app.exits import ExitCode
from worker.cli.ending import say_error


def code_for_named(ids: Collection[str] | None, found: Collection[str], what: str) -> ExitCode:
    """OK if every id that was given is among those found; the others are named on stderr."""
    missing = [name for name in dict.fromkeys(ids or ()) if name not in found]
    for name in missing:
        say_error(f"no {what} has the id {name}")
    return ExitCode.USAGE if missing else ExitCode.OK
