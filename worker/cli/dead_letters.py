"""`sevenp-worker dead-letters`: records that could not be stored, with their bytes."""

from typing import Annotated

import typer
from rich.console import Console

from worker.app.dependencies import kafka_probe
from worker.app.opening import opened_in_use
from worker.app.redriving import open_redriver
from worker.cli import help as text
from worker.cli import listing
from worker.cli.auditing import audited, chosen_as_json
from worker.cli.ending import run_to_end
from worker.cli.options import All, Commands, DryRun, Grouped, JsonFlag, filtered, require_intent
from worker.cli.tables import JsonList, print_json
from worker.kafka.security import kafka_options
from worker.retry.dead_letters import discard_dead_letters, find_names, pages, read_kept, show_dead_letter
from worker.retry.redrive import MAX_REDRIVES, Redriven, redrive
from worker.retry.selection import Selection, grouped_in_pages
from worker.settings import load_settings
from worker.words import counted

AlsoRedriven = Annotated[bool, typer.Option("--redriven", help="Also those that were sent again already.")]

dead_letters_app = Commands(
    help="Records that could not be stored, with their bytes.",
    epilog=text.examples(
        "sevenp-worker dead-letters list --group                    which failures are there?",
        "sevenp-worker dead-letters show ID                         why, from where, and the bytes",
        "sevenp-worker dead-letters redrive --reason unknown_event_type --dry-run",
        "sevenp-worker dead-letters redrive --fingerprint 1f...     send these again",
        "sevenp-worker dead-letters discard --since 1d --reason not_json",
    ),
)


@dead_letters_app.command("list", epilog=text.settings(*text.MONGODB))
@filtered
@run_to_end()
async def list_dead_letters(
    chosen: Selection, redriven: AlsoRedriven = False, group: Grouped = False, as_json: JsonFlag = False
) -> None:
    """List dead letters nobody has acted upon, the oldest first."""
    async with opened_in_use(load_settings()) as database:
        names = await find_names(database, chosen, redriven=redriven)
        if group:
            listing.print_groups(await grouped_in_pages(pages(database, names)), as_json=as_json)
        elif as_json:
            with JsonList() as listed:
                async for page in pages(database, names, with_headers=True):
                    for entry in page:
                        listed.add(listing.plain(entry.document))
        else:
            first = [
                entry async for page in pages(database, names[: listing.LONGEST_TABLE]) for entry in page
            ]
            listing.print_dead_letters(first, len(names))


@dead_letters_app.command("show", epilog=text.settings(*text.MONGODB))
@run_to_end()
async def show(name: Annotated[str, typer.Argument(metavar="ID")], as_json: JsonFlag = False) -> int:
    """Show one dead letter: why, from where, and its bytes (with --json all of them, as base64)."""
    async with opened_in_use(load_settings()) as database:
        if as_json:
            whole = await read_kept(database, name)
            shown = listing.with_everything(*whole) if whole is not None else None
        else:
            found = await show_dead_letter(database, name, listing.SHOWN_BYTES)
            shown = listing.with_bytes(*found) if found is not None else None
    return listing.print_document(shown, f"dead letter {name}", as_json=as_json)


@dead_letters_app.command("redrive", epilog=text.settings(*text.MONGODB, *text.KAFKA))
@filtered
@run_to_end("some dead letters may have been sent; they are marked, the others are not")
async def redrive_dead_letters(
    chosen: Selection,
    again: Annotated[bool, typer.Option("--again", help="Also those that were sent again already.")] = False,
    max_redrives: Annotated[
        int, typer.Option(min=1, help="How often one record may be sent again, dead letters of it included.")
    ] = MAX_REDRIVES,
    idempotent: Annotated[
        bool, typer.Option(help="Let the broker drop what is sent twice after a lost answer.")
    ] = True,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> int:
    """Publish dead letters again: exact bytes, key and headers, to the topic they came from, in their order.

    Without filters, all that nobody has acted upon. Those made meanwhile are not looked at. A dead letter
    stays, marked; what is refused again is a new one.
    """
    settings = load_settings()
    kafka = settings.kafka
    probes = [] if dry_run else [kafka_probe(kafka.bootstrap_servers, (), kafka_options(kafka))]
    asked = chosen_as_json(chosen, again=again, max_redrives=max_redrives)
    async with (
        opened_in_use(settings, *probes) as database,
        open_redriver(settings, idempotent=idempotent) as publish,
        audited(database, settings, "dead-letters redrive", asked, dry_run=dry_run) as outcome,
    ):
        names = await find_names(database, chosen, redriven=again)
        result = await redrive(
            database, names, publish, max_redrives=max_redrives, again=again, dry_run=dry_run
        )
        outcome |= {"redriven": len(result.sent), "skipped": dict(result.reasons)}
    _say_redriven(result, dry_run=dry_run, as_json=as_json)
    return listing.code_for_named(chosen.ids, set(result.sent), "dead letter that could be sent")


@dead_letters_app.command("discard", epilog=text.settings(*text.MONGODB))
@filtered
@run_to_end("some dead letters may be gone already; the same command again deletes the others")
async def discard(
    chosen: Selection,
    redriven: AlsoRedriven = False,
    everything: All = False,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> int:
    """Delete dead letters with their bytes. There is no way back."""
    require_intent(chosen, everything=everything)
    settings, asked = load_settings(), chosen_as_json(chosen, redriven=redriven, all=everything)
    async with (
        opened_in_use(settings) as database,
        audited(database, settings, "dead-letters discard", asked, dry_run=dry_run) as outcome,
    ):
        names = await find_names(database, chosen, redriven=redriven)
        number = len(names) if dry_run else await discard_dead_letters(database, names)
        outcome["discarded"] = number
    listing.say_done(number, "dead letter", "discarded", dry_run=dry_run, as_json=as_json)
    return listing.code_for_named(chosen.ids, set(names), "dead letter")


def _say_redriven(result: Redriven, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json({"redriven": result.sent, "skipped": result.skipped, "dry_run": dry_run})
        return
    console = Console()
    console.print(f"{counted(len(result.sent), 'dead letter')} {'would be ' if dry_run else ''}redriven.")
    for reason, count in result.reasons.items():
        console.print(f"{count:,} skipped: {_WHY[reason]}", markup=False)


_WHY = {
    "no_bytes": "gaps have no bytes (their offsets were never read), nor has what the store refused",
    "broken": "the records themselves are broken: only their raw bytes were kept (show --json)",
    "headers": "a header's name is no UTF-8, which this program cannot send: publish the value by other means",
    "redriven": "already sent again (--again sends them once more)",
    "loop": "sent again as often as is allowed (--max-redrives)",
    "damaged": "their bytes are not those that were put in",
    "refused": "the broker does not take them",
}
