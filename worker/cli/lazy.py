"""A group whose commands are imported when they are called: its help and completion import none of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from worker.importing import importing


@dataclass(frozen=True, slots=True)
class Entry:
    """A command, or a group of commands: its name, its `summary` in the list of commands, and where it is.

    The `attribute` of the `module` is a function, or a `Typer` with commands of its own. The help of a function ends
    with another attribute of the module, whose name is `epilog`.
    """

    name: str
    summary: str
    module: str
    attribute: str
    epilog: str = "EPILOG"

    def command(self) -> Any:
        """The command itself: its module is imported."""
        with importing():
            module = import_module(self.module)
        found = getattr(module, self.attribute)
        if isinstance(found, typer.Typer):
            group = typer.main.get_group(found)
            group.name = self.name
            return group
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(self.name, epilog=getattr(module, self.epilog))(found)
        return typer.main.get_command(single)


class _Commands(dict[str, Any]):
    """Commands by name: a list of them, and `get`, give name and summary only; `[name]` imports the command."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__({each.name: TyperCommand(each.name, help=each.summary) for each in entries})
        self._entries = {each.name: each for each in entries}

    def __getitem__(self, name: str) -> Any:
        if (entry := self._entries.pop(name, None)) is not None:
            self[name] = entry.command()
        return super().__getitem__(name)


def lazy_group(entries: Sequence[Entry]) -> type[TyperGroup]:
    """The class of a group of these commands, in this order.

    A context whose `obj` is a function has it called before a command is imported, unless a shell completes a line.
    """

    class LazyGroup(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self.commands = _Commands(entries)

        def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
            name, listed, rest = super().resolve_command(ctx, args)
            if name is None:
                return name, listed, rest
            if callable(ctx.obj) and not ctx.resilient_parsing:
                ctx.obj()
            return name, self.commands[name], rest

    return LazyGroup
