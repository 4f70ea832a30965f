"""`sevenp-worker contract`: what producers publish, as files."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from worker.cli.ending import run_to_end
from worker.cli.options import Commands
from worker.contract import export

contract_app = Commands(help="What producers publish.")


@contract_app.command("export", epilog="It reads no settings.")
@run_to_end("some files may be missing; run it again")
async def contract_export(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Where to write; made if absent.")],
) -> None:
    """Write a JSON Schema for each topic and one valid example of each event type."""
    for path in export.write(folder):
        Console(soft_wrap=True, highlight=False).print(str(path), markup=False)
