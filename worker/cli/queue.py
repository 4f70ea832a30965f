"""`sevenp-worker queue`: what failed and waits to be tried again."""

from typing import Annotated

import typer
from rich.console import Console

from worker.app.opening import opened_in_use
from worker.cli import help as text
from worker.cli import skipping
from worker.cli.auditing import audited, chosen_as_json
from worker.cli.ending import run_to_end
from worker.cli.listing import code_for_named, print_document, print_groups, print_items, say_done
from worker.cli.options import All, Commands, DryRun, Grouped, JsonFlag, filtered, require_intent
from worker.retry import operate
from worker.retry.selection import Selection, grouped
from worker.retry.unsent import COLLECTION as NOTIFICATIONS
from worker.settings import load_settings
from worker.words import counted

Status = Annotated[operate.State | None, typer.Option(help="Only this status.")]
_PARTLY = "some items may be done already; the same command again does the others"

queue_app = Commands(
    help="What failed and waits to be tried again.",
    epilog=text.examples(
        "sevenp-worker queue list --group               which failures are there?",
        "sevenp-worker queue list --status failed       what waits for somebody",
        "sevenp-worker queue show progress:course_...   one item, every field",
        "sevenp-worker queue retry --fingerprint 1f...  after the fix: try these again",
        "sevenp-worker queue discard ID --dry-run       what would be deleted?",
        "sevenp-worker queue skip-event course_..._user_... --version 7 --reason '...'",
        "                                               one bad event blocks a learner",
    ),
)
queue_app.command("skip-event", epilog=text.settings(*text.MONGODB, "operator"))(skipping.skip)
queue_app.command("unskip-event", epilog=text.settings(*text.MONGODB, "operator"))(skipping.unskip)
queue_app.command("skipped", epilog=text.settings(*text.MONGODB))(skipping.show_skipped)


@queue_app.command("list", epilog=text.settings(*text.MONGODB))
@filtered
@run_to_end()
async def list_items(
    chosen: Selection, status: Status = None, group: Grouped = False, as_json: JsonFlag = False
) -> None:
    """List items that are not completed, notifications that are not sent yet among them, or those of one status."""
    states = [status] if status else [state for state in operate.STATES if state != "completed"]
    async with opened_in_use(load_settings()) as database:
        entries = await operate.find_items(database, chosen, states)
        foreign = 0 if as_json else await operate.count_foreign(database)
    if group:
        print_groups(grouped(entries), as_json=as_json)
    else:
        print_items(entries, as_json=as_json)
    if foreign:
        Console().print(f"{counted(foreign, 'item')} of other types: not ours, left alone.")


@queue_app.command("show", epilog=text.settings(*text.MONGODB))
@run_to_end()
async def show(name: Annotated[str, typer.Argument(metavar="ID")], as_json: JsonFlag = False) -> int:
    """Show every field of one item."""
    async with opened_in_use(load_settings()) as database:
        item = await operate.show_item(database, name)
    shown = {**item, "fingerprint": operate.item_fingerprint(item)} if item is not None else None
    return print_document(shown, f"queue item {name}", as_json=as_json)


@queue_app.command("retry", epilog=text.settings(*text.MONGODB))
@filtered
@run_to_end(_PARTLY)
async def retry(chosen: Selection, dry_run: DryRun = False, as_json: JsonFlag = False) -> int:
    """Make items due now, with all their attempts before them; without filters, all that wait.

    A running worker with the role `retry` takes them up within a second, at its cap, and one with the role `notify`
    the notifications. What is being tried right now is left alone.
    """
    settings, asked = load_settings(), chosen_as_json(chosen)
    async with (
        opened_in_use(settings) as database,
        audited(database, settings, "queue retry", asked, dry_run=dry_run) as outcome,
    ):
        found = {
            str(entry.id): entry for entry in await operate.find_items(database, chosen, operate.WAITING)
        }
        number = len(found) if dry_run else await operate.retry_items(database, list(found.values()))
        outcome["retried"] = number
    say_done(number, "item", "retried", dry_run=dry_run, as_json=as_json)
    return code_for_named(chosen.ids, found, "queue item that waits")


@queue_app.command("discard", epilog=text.settings(*text.MONGODB))
@filtered
@run_to_end(_PARTLY)
async def discard(
    chosen: Selection,
    status: Status = None,
    everything: All = False,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> int:
    """Delete items. A stream whose fold failed stands still all the same, and nothing says so any more.

    Notifications stay: the key of each keeps its milestone from being announced twice, and one that `failed` is not
    sent unless it is retried.
    """
    require_intent(chosen, everything=everything or status is not None)
    settings, asked = load_settings(), chosen_as_json(chosen, status=status, all=everything)
    async with (
        opened_in_use(settings) as database,
        audited(database, settings, "queue discard", asked, dry_run=dry_run) as outcome,
    ):
        entries = await operate.find_items(database, chosen, [status] if status else operate.DISCARDABLE)
        found = {str(entry.id): entry for entry in entries if entry.collection != NOTIFICATIONS}
        number = len(found) if dry_run else await operate.discard_items(database, list(found.values()))
        outcome["discarded"] = number
    say_done(number, "item", "discarded", dry_run=dry_run, as_json=as_json)
    return code_for_named(chosen.ids, found, "queue item that may be discarded")
