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
    """A command, or a group of commands: what it is called, what the help says of it, and where it is.

    `found` is a function, or a `Typer` with commands of its own, in the `module`, where a function has its `epilog`.
    """

    name: str
    says: str
    module: str
    found: str
    epilog: str = "EPILOG"

    def command(self) -> Any:
        """The command itself: its module is imported."""
        with importing():
            module = import_module(self.module)
        found = getattr(module, self.found)
        if isinstance(found, typer.Typer):
            group = typer.main.get_group(found)
            group.name = self.name
            return group
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(self.name, epilog=getattr(module, self.epilog))(found)
        return typer.main.get_command(alone)


class _Commands(dict[str, Any]):
    """By name. Listed as the entries tell them; one that is taken by its name is imported."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__({each.name: TyperCommand(each.name, help=each.says) for each in entries})
        self._entries = {each.name: each for each in entries}

    def __getitem__(self, name: str) -> Any:
        if (entry := self._entries.pop(name, None)) is not None:
            self[name] = entry.command()
        return super().__getitem__(name)


def lazy_group(entries: Sequence[Entry]) -> type[TyperGroup]:
    """The class of a group of these commands, in this order.

    What is the context's `obj` is called before a command is imported, if it can be, unless a shell completes.
    """

    class LazyGroup(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self.commands = _Commands(entries)

        def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
            name, told, rest = super().resolve_command(ctx, args)
            if name is None:
                return name, told, rest
            if callable(ctx.obj) and not ctx.resilient_parsing:
                ctx.obj()
            return name, self.commands[name], rest

    return LazyGroup
