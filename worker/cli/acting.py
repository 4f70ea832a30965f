"""What commands that act upon queue items and dead letters have in common: only what was meant, and said in words."""

from collections.abc import Collection

import typer
from rich.console import Console

from worker.app.exits import ExitCode
from worker.cli.ending import say_error
from worker.cli.tables import print_json
from worker.retry.selection import Selection
from worker.words import counted


def require_intent(chosen: Selection, *, everything: bool) -> None:
    """Refuse to act on everything by accident."""
    if chosen.everything and not everything:
        raise typer.BadParameter("name ids or a filter, or say --all")


def say_done(number: int, noun: str, done: str, *, dry_run: bool, as_json: bool) -> None:
    """Say to how many it was done, or would have been."""
    if as_json:
        print_json({done: number, "dry_run": dry_run})
    else:
        Console().print(f"{counted(number, noun)} {'would be ' if dry_run else ''}{done}.")


def code_for_named(ids: Collection[str], found: Collection[str], target: str) -> ExitCode:
    """OK if every id that was given is among those found; the others are named on stderr.

    A script that acts upon a misspelt id wants to know.
    """
    missing = [name for name in dict.fromkeys(ids) if name not in found]
    for name in missing:
        say_error(f"no {target} has the id {name}")
    return ExitCode.USAGE if missing else ExitCode.OK
