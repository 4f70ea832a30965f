"""`--parallel` where it makes no sense: refused in words, since the rebuild of documents has it."""

from collections.abc import Callable
from typing import Annotated

import typer


def _refusing(reason: str) -> Callable[[int | None], None]:
    def refuse(parts: int | None) -> None:
        if parts is not None:
            raise typer.BadParameter(f"only `rebuild progress` works on several parts at a time: {reason}")

    return refuse


_MEET = "here transactions meet in the same courses, and would only wait for each other"
_ONE_REPAIRER = "rows of the time series are written by one repairer at a time"

NotBesideEachOther = Annotated[int | None, typer.Option("--parallel", hidden=True, callback=_refusing(_MEET))]
NotBesideTheRepairer = Annotated[
    int | None, typer.Option("--parallel", hidden=True, callback=_refusing(_ONE_REPAIRER))
]
