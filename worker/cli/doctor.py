"""`sevenp-worker doctor` and `capacity`: what is wrong with a set-up, and how long what there is will last."""

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from difflib import get_close_matches
from typing import Annotated

import typer
from rich.console import Console

from worker.app.exits import ExitCode
from worker.app.mongodb import with_setting_hint
from worker.app.opening import opened, opened_in_use
from worker.cli import help as text
from worker.cli.capacity_tables import capacity_json, print_capacity
from worker.cli.ending import run_to_end
from worker.cli.options import JsonFlag
from worker.cli.tables import print_json, print_table
from worker.operate.capacity.measure import measure
from worker.operate.doctor.catalogue import FINDINGS
from worker.operate.doctor.examination import Report, examine
from worker.operate.doctor.finding import Finding
from worker.operate.doctor.setup import Limits, Setup
from worker.settings import load_settings
from worker.timing import SystemClock
from worker.words import counted

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
# Findings with the same reason are named up to so many; else it is their number.
_NAMED = 3
_SIZES = {"M": 2**20, "G": 2**30, "T": 2**40}

EPILOG = text.page(
    text.examples(
        "sevenp-worker doctor",
        "sevenp-worker doctor --outage 3d          the worker may be away for a long weekend",
        "sevenp-worker doctor --only short_oplog --only short_retention",
        "sevenp-worker doctor --json",
    ),
    text.settings(*text.MONGODB, *text.KAFKA, "topic", "kafka_group_id"),
    text.exit_codes(),
)
CAPACITY_EPILOG = text.page(
    text.examples(
        "sevenp-worker capacity",
        "sevenp-worker capacity --disk 500G        when is a volume of this size full?",
    ),
    text.settings(*text.MONGODB),
    text.exit_codes(),
)


@run_to_end()
async def doctor(
    only: Annotated[
        list[str] | None, typer.Option(help="Only this finding, by name; may be repeated (docs/doctor.md).")
    ] = None,
    outage: Annotated[
        str, typer.Option(help="Longest time the worker, or a server, may be away: 90m, 12h, 7d.")
    ] = "1d",
    as_json: JsonFlag = False,
) -> ExitCode:
    """Look for what is wrong with MongoDB, Kafka and the settings, and say what mends it. Changes nothing.

    Ends with 0 when nothing is wrong, whatever it advises; with 1 for an error or a warning; with 4 where a server
    does not answer or does not let this worker in, and the rest is told all the same.
    """
    chosen = _chosen(only or ())
    limits = Limits(longest_outage=_span(outage))
    settings = load_settings()
    async with opened(settings) as database:
        setup = Setup.of(settings, database, SystemClock(), limits, with_setting_hint)
        report = await examine(setup, chosen)
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
    if report.away:
        return ExitCode.UNREACHABLE
    return ExitCode.OK if report.ok else ExitCode.DIFFERENCE


@run_to_end()
async def capacity(
    disk: Annotated[
        str | None,
        typer.Option(help="Size of the volume that is to hold all of it: 500G, 2T; else MongoDB's own disk."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Bytes per event and day, oplog hours, index sizes, and when the disk is full. Reads no documents.

    Events per day are counted by the time of the time series' rows, of the last seven days at most. The formulas
    are in docs/doctor.md.
    """
    whole = None if disk is None else _size(disk)
    async with opened_in_use(load_settings()) as database:
        measured = await measure(database, SystemClock())
    if as_json:
        print_json(capacity_json(measured, whole))
    else:
        print_capacity(measured, whole)


def _chosen(names: Sequence[str]) -> Sequence[Finding]:
    """The findings of these names, all without any. Raises typer.BadParameter for a name that none has."""
    known = {finding.name: finding for finding in FINDINGS}
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=1, cutoff=0.5)
            meant = f"did you mean {close[0]}?" if close else f"there is {', '.join(known)}"
            raise typer.BadParameter(f"'{name}' is no finding: {meant}", param_hint="--only")
    return [finding for finding in FINDINGS if not names or finding.name in names]


def _span(given: str) -> timedelta:
    read = re.fullmatch(r"([0-9]{1,6})([mhdw])", given.strip())
    if read is None or not int(read[1]):
        raise typer.BadParameter(f"'{given}' is no span of time: write 90m, 12h or 7d", param_hint="--outage")
    return timedelta(**{_UNITS[read[2]]: int(read[1])})


def _size(given: str) -> int:
    read = re.fullmatch(r"([0-9]{1,6})([MGT])(i?B)?", given.strip())
    if read is None or not int(read[1]):
        raise typer.BadParameter(f"'{given}' is no size: write 500G or 2T", param_hint="--disk")
    return int(read[1]) * _SIZES[read[2]]


def _not_looked(report: Report) -> Iterator[tuple[str, str]]:
    """A line for each reason: a server that is away is one, however many findings ask it."""
    names: dict[str, list[str]] = {}
    for each in report.not_looked:
        names.setdefault(each.reason, []).append(each.finding.name)
    for reason, some in names.items():
        yield ", ".join(some) if len(some) <= _NAMED else counted(len(some), "finding"), reason


def _print(report: Report) -> None:
    """What was found, then what could not be looked for, then a sentence."""
    rows = [
        (str(each.finding.severity), each.finding.name, each.seen.subject, each.seen.words, each.fix)
        for each in report.found
    ]
    print_table(rows, ("severity", "finding", "subject", "what", "fix"))
    print_table(list(_not_looked(report)), ("not looked for", "message"))
    style = "bold green" if report.ok else "bold red"
    Console(highlight=False, soft_wrap=True).print(report.words, style=style, markup=False)
