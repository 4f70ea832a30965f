"""What commands do to selected queue items and dead letters: only what was meant, and nothing at a dry run."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import typer
from rich.console import Console

from worker.app.exits import ExitCode
from worker.app.opening import opened_in_use
from worker.cli.ending import end_with, say_error
from worker.cli.tables import print_json
from worker.retry.selection import Selection
from worker.settings import load_settings
from worker.storage.database import Database
from worker.words import counted

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Action:
    """What is done, in words: `done` to `noun`s; only a `target` can be named by its id."""

    done: str
    noun: str
    target: str
    interrupted: str


def act(
    action: Action,
    chosen: Selection,
    find: Callable[[Database], Awaitable[Mapping[str, T]]],
    do: Callable[[Database, Sequence[T]], Awaitable[int]],
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Find what was chosen, by id, do it, say to how many; as a whole command, which ends here.

    `do` returns how many it found still to be done; at a dry run it is not called.
    """

    async def work() -> int:
        async with opened_in_use(load_settings()) as database:
            found = await find(database)
            number = len(found) if dry_run else await do(database, list(found.values()))
        if as_json:
            print_json({action.done: number, "dry_run": dry_run})
        else:
            would = "would be " if dry_run else ""
            Console().print(f"{counted(number, action.noun)} {would}{action.done}.")
        return code_for_named(chosen.ids, found, action.target)

    end_with(work, interrupted=lambda: action.interrupted)


def require_intent(chosen: Selection, *, everything: bool) -> None:
    """Refuse to act on everything by accident."""
    if chosen.everything and not everything:
        raise typer.BadParameter("name ids or a filter, or say --all")


def code_for_named(ids: Collection[str], found: Collection[str], target: str) -> ExitCode:
    """OK if every id that was given is among those found; the others are named on stderr.

    A script that acts upon a misspelt id wants to know.
    """
    missing = [name for name in dict.fromkeys(ids) if name not in found]
    for name in missing:
        say_error(f"no {target} has the id {name}")
    return ExitCode.USAGE if missing else ExitCode.OK
