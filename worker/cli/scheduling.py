"""`sevenp-worker schedule`: runs jobs by the clock, or shows when it would."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from worker.app.collector import tune_collector
from worker.app.exits import ExitCode
from worker.app.scheduling import look_at_schedule, serve_schedule
from worker.app.signals import StopSignal
from worker.cli import help as text
from worker.cli.ending import end_with, say_error
from worker.cli.giving_way import give_way
from worker.cli.options import JsonFlag
from worker.cli.tables import print_json, print_table
from worker.jobs.schedule.entry import Entry, Schedule
from worker.settings import load_settings
from worker.telemetry.logs import configure_logging
from worker.words import counted

EPILOG = text.page(
    text.examples(
        "sevenp-worker schedule --file schedule.toml             until SIGTERM",
        "sevenp-worker schedule --file schedule.toml --dry-run   is it right, and when does what run?",
        "sevenp-worker schedule --next 5                         the entries in system_settings",
    ),
    text.settings("schedule_", "jobs_", "http_", "drain_", "log_", *text.MONGODB),
)
_SHOWN = 1


def schedule(
    file: Annotated[
        Path | None, typer.Option(help="Entries in TOML; without it, as the settings say.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the entries and when each fires next; run nothing.")
    ] = False,
    next_: Annotated[
        int | None, typer.Option("--next", min=1, max=1_000, help="The same, with so many times of each.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run jobs by the clock until SIGTERM or Ctrl-C. Several may run at once: each firing is started once.

    An entry that cannot run is named, and the others run; with --dry-run the command ends with 2 then. Runs under way
    are stopped at their checkpoint, and go on with the next scheduler. Entries are read again every half minute.
    """
    if dry_run or next_ is not None:
        end_with(lambda: _look(file, next_ or _SHOWN, as_json=as_json))
    if as_json:
        raise typer.BadParameter("--json is for --dry-run and --next")
    signals = StopSignal()
    signals.install()

    async def work() -> None:
        settings = load_settings(schedule_file=file)
        give_way(settings.jobs.nice)
        configure_logging(settings.process.log_level, form=settings.process.log_format)
        tune_collector()
        await serve_schedule(settings, signals.event())

    end_with(work)


async def _look(file: Path | None, number: int, *, as_json: bool) -> ExitCode:
    now = datetime.now(UTC)
    found = await look_at_schedule(load_settings(schedule_file=file))
    if as_json:
        print_json(_as_json(found, now, number))
    else:
        rows = [row for entry in found.entries for row in _rows(entry, now, number)]
        columns = ("entry", "job", "cron", "time zone", "misfire", "overlap", "next", "UTC")
        print_table(rows, columns, empty="" if found.mistakes else "There are no entries.")
    for mistake in found.mistakes:
        say_error(f"entry {mistake.name}: {mistake.reason}")
    if not found.mistakes:
        return ExitCode.OK
    say_error(f"{counted(len(found.mistakes), 'entry', 'entries')} cannot run")
    return ExitCode.USAGE


def _rows(entry: Entry, now: datetime, number: int) -> Iterator[tuple[str, ...]]:
    """A row for each time; what is the same in all of them stands in the first."""
    about = [entry.name, entry.job.name, entry.cron.text, entry.cron.zone.key, entry.misfire, entry.overlap]
    for firing in islice(entry.cron.after(now), number):
        local = firing.astimezone(entry.cron.zone)
        yield (*about, f"{local:%a %Y-%m-%d %H:%M %z}", f"{firing:%Y-%m-%d %H:%M}")
        about = [""] * len(about)


def _as_json(found: Schedule, now: datetime, number: int) -> dict[str, Any]:
    return {
        "entries": [
            {
                "name": entry.name,
                "job": entry.job.name,
                "arguments": entry.arguments.model_dump(mode="json"),
                "cron": entry.cron.text,
                "time_zone": entry.cron.zone.key,
                "misfire": entry.misfire,
                "misfire_limit": entry.misfire_limit,
                "overlap": entry.overlap,
                "next": [firing.isoformat() for firing in islice(entry.cron.after(now), number)],
            }
            for entry in found.entries
        ],
        "refused": [{"name": each.name, "reason": each.reason} for each in found.mistakes],
    }
