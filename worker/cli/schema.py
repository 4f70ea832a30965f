"""`sevenp-worker schema`: whether collections, indexes and validators are as this version needs them."""

from dataclasses import asdict, astuple

from worker.app.exits import ExitCode
from worker.app.opening import opened_to_change
from worker.cli import help as text
from worker.cli.auditing import audited
from worker.cli.ending import run_to_end
from worker.cli.options import Commands, JsonFlag
from worker.cli.tables import print_json, print_table
from worker.settings import load_settings
from worker.storage.schema import apply_schema, apply_to, check_schema

schema_app = Commands(help="Collections, indexes, validators.")


@schema_app.command("apply", epilog=text.settings(*text.MONGODB, "external_collections", "retention_"))
@run_to_end("what is made stays; run it again, it makes what is missing")
async def schema_apply() -> None:
    """Create what is missing, set validators and retention that differ, drop nothing. May be repeated at any time."""
    settings = load_settings()
    async with opened_to_change(settings) as database:
        external, retention = settings.mongodb.external_collections, settings.retention
        # Before anything else the collection in which it is noted that the rest is made.
        changes = await apply_to("audit", database, external=external, retention=retention)
        async with audited(database, settings, "schema apply", {}) as outcome:
            changes += await apply_schema(database, external=external, retention=retention)
            outcome["changes"] = [" ".join(astuple(change)) for change in changes]
    rows = [astuple(change) for change in changes]
    print_table(rows, ("collection", "what", "done"), empty="Nothing to do: all is as it should be.")


@schema_app.command("check", epilog=text.settings(*text.MONGODB, "external_collections", "retention_"))
@run_to_end()
async def schema_check(as_json: JsonFlag = False) -> ExitCode:
    """Show what differs from what this version needs; ends with 1 when something does. Changes nothing."""
    settings = load_settings()
    async with opened_to_change(settings) as database:
        external = settings.mongodb.external_collections
        found = await check_schema(database, external=external, retention=settings.retention)
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        rows = [astuple(difference) for difference in found]
        print_table(rows, ("collection", "what", "expected", "found"), empty="No differences.")
    return ExitCode.DIFFERENCE if found else ExitCode.OK
