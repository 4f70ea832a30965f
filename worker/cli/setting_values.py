"""`sevenp-worker settings`: how the worker is set."""

from dataclasses import asdict
from typing import Annotated

import typer

from worker.app.exits import ExitCode
from worker.cli import help as text
from worker.cli.ending import run_to_end, say_error
from worker.cli.options import Commands, JsonFlag
from worker.cli.output import visible
from worker.cli.tables import print_json, print_table
from worker.settings.effective import DEFAULT, effective_settings

settings_app = Commands(help="How the worker is set.")


@settings_app.command("show", epilog=text.exit_codes())
@run_to_end()
async def settings_show(
    changed: Annotated[bool, typer.Option("--changed", help="Only what is not the default.")] = False,
    as_json: JsonFlag = False,
) -> ExitCode:
    """Show the value of every setting and where it comes from: default, environment or a secret file.

    Secrets are hidden; of the URI of MongoDB only the password is. Variables with our prefix that are no settings,
    and what is wrong with those that are, are named; it ends with 2 then, as `run` would. Connects to nothing.
    """
    found = effective_settings()
    chosen = [each for each in found.settings if not changed or each.source != DEFAULT]
    if as_json:
        print_json(
            {
                "settings": [asdict(each) for each in chosen],
                "unknown": found.unknown,
                "mistake": found.mistake,
            }
        )
    else:
        rows = [(each.variable, visible(each.value), each.source) for each in chosen]
        print_table(rows, ("variable", "value", "source"), empty="Everything is as by default.")
    mistakes = [*found.unknown, *([] if found.mistake is None else [found.mistake])]
    for each in mistakes:
        say_error(each)
    return ExitCode.USAGE if mistakes else ExitCode.OK
