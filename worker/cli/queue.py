"""`sevenp-worker queue`: what failed and waits to be tried again."""

from typing import Annotated

import typer
from rich.console import Console

from worker.app.exits import ExitCode
from worker.app.opening import opened_in_use
from worker.cli import help as text
from worker.cli.ending import end_with, say_error
from worker.cli.listing import print_document, print_groups, print_items
from worker.cli.named import code_for_named
from worker.cli.options import (
    All,
    DryRun,
    Fingerprint,
    Grouped,
    JsonFlag,
    Limit,
    Reason,
    Since,
    Stream,
    require_intent,
    selection,
)
from worker.cli.tables import print_json
from worker.retry.operate import (
    DISCARDABLE,
    STATES,
    WAITING,
    State,
    count_foreign,
    discard_items,
    find_items,
    item_fingerprint,
    retry_items,
    show_item,
)
from worker.retry.selection import grouped
from worker.retry.unsent import COLLECTION as NOTIFICATIONS
from worker.settings import load_settings
from worker.words import counted

Ids = Annotated[list[str] | None, typer.Argument(help="Ids, as `queue list` shows them.")]
Status = Annotated[State | None, typer.Option(help="Only this status.")]

queue_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="What failed and waits to be tried again.",
    epilog=text.examples(
        "sevenp-worker queue list --group               which failures are there?",
        "sevenp-worker queue list --status failed       what waits for somebody",
        "sevenp-worker queue show progress:course_...   one item, every field",
        "sevenp-worker queue retry --fingerprint 1f...  after the fix: try these again",
        "sevenp-worker queue discard ID --dry-run       what would be deleted?",
    ),
)


@queue_app.command("list", epilog=text.settings(*text.MONGODB))
def list_items(
    status: Status = None,
    reason: Reason = None,
    since: Since = None,
    stream: Stream = None,
    fingerprint: Fingerprint = None,
    limit: Limit = None,
    group: Grouped = False,
    as_json: JsonFlag = False,
) -> None:
    """List items that are not completed, notifications that are not sent yet among them, or those of one status."""
    chosen = selection(reason=reason, since=since, stream=stream, fingerprint=fingerprint, limit=limit)
    states = [status] if status else [state for state in STATES if state != "completed"]

    async def work() -> int:
        async with opened_in_use(load_settings()) as database:
            entries = await find_items(database, chosen, states)
            foreign = 0 if as_json else await count_foreign(database)
        if group:
            print_groups(grouped(entries), as_json=as_json)
        else:
            print_items(entries, as_json=as_json)
        if foreign:
            Console().print(f"{counted(foreign, 'item')} of other types: not ours, left alone.")
        return ExitCode.OK

    end_with(work)


@queue_app.command("show", epilog=text.settings(*text.MONGODB))
def show(name: Annotated[str, typer.Argument(metavar="ID")], as_json: JsonFlag = False) -> None:
    """Show every field of one item."""

    async def work() -> int:
        async with opened_in_use(load_settings()) as database:
            item = await show_item(database, name)
        if item is None:
            say_error(f"there is no queue item {name}")
            return ExitCode.USAGE
        print_document({**item, "fingerprint": item_fingerprint(item)}, as_json=as_json)
        return ExitCode.OK

    end_with(work)


@queue_app.command("retry", epilog=text.settings(*text.MONGODB))
def retry(
    ids: Ids = None,
    reason: Reason = None,
    since: Since = None,
    stream: Stream = None,
    fingerprint: Fingerprint = None,
    limit: Limit = None,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Make items due now, with all their attempts before them; without filters, all that wait.

    A running worker with the role `retry` takes them up within a second, at its cap, and one with the role `notify`
    the notifications. What is being tried right now is left alone.
    """
    chosen = selection(ids, reason=reason, since=since, stream=stream, fingerprint=fingerprint, limit=limit)

    async def work() -> int:
        async with opened_in_use(load_settings()) as database:
            entries = await find_items(database, chosen, WAITING)
            changed = 0 if dry_run else await retry_items(database, entries)
        _say("retried", len(entries) if dry_run else changed, dry_run=dry_run, as_json=as_json)
        return code_for_named(ids, {str(entry.id) for entry in entries}, "queue item that waits")

    end_with(work, interrupted=_partly)


@queue_app.command("discard", epilog=text.settings(*text.MONGODB))
def discard(
    ids: Ids = None,
    status: Status = None,
    reason: Reason = None,
    since: Since = None,
    stream: Stream = None,
    fingerprint: Fingerprint = None,
    limit: Limit = None,
    everything: All = False,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete items. A stream whose fold failed stands still all the same, and nothing says so any more.

    Notifications stay: the key of each keeps its milestone from being announced twice, and one that `failed` is not
    sent unless it is retried.
    """
    chosen = selection(ids, reason=reason, since=since, stream=stream, fingerprint=fingerprint, limit=limit)
    require_intent(chosen, everything=everything or status is not None)

    async def work() -> int:
        async with opened_in_use(load_settings()) as database:
            found = await find_items(database, chosen, [status] if status else DISCARDABLE)
            entries = [entry for entry in found if entry.collection != NOTIFICATIONS]
            deleted = 0 if dry_run else await discard_items(database, entries)
        _say("discarded", len(entries) if dry_run else deleted, dry_run=dry_run, as_json=as_json)
        return code_for_named(ids, {str(entry.id) for entry in entries}, "queue item that may be discarded")

    end_with(work, interrupted=_partly)


def _say(what: str, count: int, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json({what: count, "dry_run": dry_run})
    else:
        Console().print(f"{counted(count, 'item')} {'would be ' if dry_run else ''}{what}.")


def _partly() -> str:
    return "some items may be done already; the same command again does the others"
