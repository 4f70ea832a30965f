"""`sevenp-worker backfill`: files of events of the past, to the topic."""

from pathlib import Path
from typing import Annotated

import typer

from worker.cli import help as text
from worker.cli.foreground import asked, run_in_foreground
from worker.cli.options import DryRun, Format, JsonFlag, input_file
from worker.jobs.backfill import BACKFILL, BackfillArguments

EPILOG = text.page(
    text.examples(
        "sevenp-worker backfill 2024.jsonl.gz 2025.jsonl.gz --rate 2000",
        "sevenp-worker backfill 2024.jsonl.gz --dry-run          which lines are no valid events?",
        "zstd -dc 2024.zst | sevenp-worker backfill -",
    ),
    text.settings(*text.MONGODB, "topic", "xapi_", "max_future_hours", "jobs_", "operator", *text.KAFKA),
    text.exit_codes(),
)


def _input_files(paths: list[Path]) -> list[Path]:
    for path in paths:
        input_file(path)
    return paths


def backfill(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            callback=_input_files,
            help="One event a line, plain or gzip; a pipe will do; - is standard input.",
        ),
    ],
    format: Annotated[  # noqa: A002 - the option's name
        Format, typer.Option(help="native: events of the contract. xapi: video statements.")
    ] = "native",
    rate: Annotated[
        int, typer.Option(min=0, help="Records a second at most; 0 for as many as Kafka takes.")
    ] = 1_000,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Publish files of past events to the topic: stored like all others, and nobody is notified of them.

    Lines that are no valid events are named and not sent; it ends with 1 then. Killed or stopped, the same command
    goes on at the line it came to, also where the same lines come through a pipe again. The same file twice changes
    nothing: event ids decide.
    """
    arguments = asked(BackfillArguments, files=tuple(str(path) for path in files), format=format, rate=rate)
    run_in_foreground(BACKFILL, arguments, dry_run=dry_run, as_json=as_json)
