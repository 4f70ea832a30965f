"""`sevenp-worker trace`: one event from its record to all that follows from it, and why something is missing."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from worker.app.exits import ExitCode
from worker.app.opening import opened_in_use
from worker.cli import help as text
from worker.cli.ending import run_to_end, say, say_error
from worker.cli.listing import cell, plain
from worker.cli.options import JsonFlag
from worker.cli.tables import print_json, print_table
from worker.errors import WorkerError
from worker.ingest.options import IngestOptions
from worker.kafka.log_reader import LogReader
from worker.queries.trace.log import Look, looking_by, not_asked
from worker.queries.trace.named import parse_asked
from worker.queries.trace.run import trace as traced
from worker.settings import Settings, load_settings
from worker.timing import SystemClock

EPILOG = text.page(
    text.examples(
        "sevenp-worker trace 0b6c2f6e-6c1d-4c55-9a53-00000000abcd   an event by its id",
        "sevenp-worker trace interaction-events:3:18204             a record by its place",
    ),
    text.settings(*text.MONGODB, "topic", "kafka_group_id", *text.KAFKA),
)


@run_to_end()
async def trace(
    event: Annotated[
        str, typer.Argument(help="An event's id, or the place of its record: topic:partition:offset.")
    ],
    as_json: JsonFlag = False,
) -> ExitCode:
    """Follow one event: record, event store, time series, documents, statistics, notifications, billing.

    Each stop says since when it has the event, or why not: a dead letter, a lost record, an item of the queue, a role
    that has not come to it. Asks MongoDB, and Kafka if a broker answers; only reads.
    """
    parse_asked(event)
    settings = load_settings()
    async with opened_in_use(settings) as database, _log(settings) as look:
        found = await traced(database, event, look)
    if as_json:
        print_json(plain({**asdict(found), "found": found.found}))
    else:
        if found.trace_id is not None:
            Console(highlight=False).print(f"Trace {found.trace_id}.")
        rows = [(each.place, each.state, cell(each.at), each.what, each.detail) for each in found.stops]
        print_table(rows, ("place", "state", "time", "which", "detail"))
    if found.found:
        return ExitCode.OK
    say_error(f"nothing knows of {event}")
    return ExitCode.USAGE


@asynccontextmanager
async def _log(settings: Settings) -> AsyncIterator[Look]:
    """A look into the log; without a broker that answers the rest is told all the same."""
    options, clock = IngestOptions.of(settings.kafka, settings.ingest), SystemClock()
    look: Look = not_asked
    async with AsyncExitStack() as stack:
        try:
            reader = await stack.enter_async_context(LogReader(options.consumer, clock))
            look = looking_by(reader, clock)
        except WorkerError as error:
            say(f"Kafka is left out: {error}")
        yield look
