"""`sevenp-worker events`: the stored events of a stream. Whoever looks at what they say of a person is noted."""

from collections.abc import Mapping
from contextlib import aclosing
from typing import Annotated, Any

import typer
from rich.console import Console

from worker.app.opening import opened_in_use
from worker.cli import help as text
from worker.cli.ending import run_to_end
from worker.cli.listing import LONGEST_TABLE, cell, plain, print_document
from worker.cli.options import Commands, JsonFlag
from worker.cli.tables import JsonList, print_table
from worker.contract.family import STREAM_IDS
from worker.contract.trace_context import trace_in
from worker.queries.stored_events import NoSuchStream, require_stream, stored_events
from worker.settings import load_settings
from worker.storage.audit import record
from worker.storage.database import Database, Document

events_app = Commands(
    help="What is stored of a stream.",
    epilog=text.examples(
        "sevenp-worker events show course_<id>_user_<id>               which events are there?",
        "sevenp-worker events show course_<id>_user_<id> --version 7   all of one, but its payload",
        "sevenp-worker events show STREAM --version 7 --payload        what the producer wrote, too",
    ),
)


@events_app.command("show", epilog=text.settings(*text.MONGODB, "operator"))
@run_to_end()
async def show(
    stream: Annotated[str, typer.Argument(help="A learner in a course: course_<id>_user_<id>.")],
    version: Annotated[int | None, typer.Option(min=1, help="Only this version, every field of it.")] = None,
    payload: Annotated[
        bool,
        typer.Option(
            "--payload", help="Also what the producer wrote, which is about a person; noted in the audit."
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> int | None:
    """List the stored events of a stream by version, or show one. What the producer wrote is withheld.

    Withheld are `details`, `value`, session, device, address and text. Voids and what cannot be read are listed.
    """
    settings = load_settings()
    async with opened_in_use(settings) as database:
        require_stream(stream)
        if payload:  # noted before it is shown: who is interrupted has seen it, too
            arguments = {"stream": stream, "version": version}
            await record(
                database,
                command="events show --payload",
                who=settings.jobs.who,
                arguments=arguments,
                outcome={},
            )
        return await _show(database, stream, version, payload=payload, as_json=as_json)


async def _show(
    database: Database, stream: str, version: int | None, *, payload: bool, as_json: bool
) -> int | None:
    events = stored_events(database, stream, version=version, payload=payload)
    async with aclosing(events):
        if version is not None:
            event = await anext(events, None)
            return print_document(event, f"version {version} in {stream}", as_json=as_json)
        first = await anext(events, None)
        if first is None:
            raise NoSuchStream(f"no event of {stream} is stored")
        if as_json:
            with JsonList() as listed:
                listed.add(plain(first))
                async for event in events:
                    listed.add(plain(event))
            return None
        rows, traces, number = [_row(first, payload=payload)], [_trace(first)], 1
        async for event in events:
            number += 1
            if number <= LONGEST_TABLE:
                rows.append(_row(event, payload=payload))
                traces.append(_trace(event))
    columns: tuple[str, ...] = ("version", "id", "type", "occurred", "recorded", "origin", "record")
    if payload:
        columns = (*columns, "value")
    if any(traces):  # where no producer sends any, the column would only take room
        rows, columns = [(*row, trace) for row, trace in zip(rows, traces, strict=True)], (*columns, "trace")
    print_table(rows, columns)
    if (more := number - LONGEST_TABLE) > 0:
        Console().print(f"... and {more:,} more: use --version or --json.")
    return None


def _row(event: Document, *, payload: bool) -> tuple[str, ...]:
    """A line of the list. Of an event that somebody made odd the cells that make no sense stay empty."""
    if "unreadable" in event:
        cells = (
            cell(event.get("version")),
            cell(event["_id"]),
            "(unreadable)",
            "",
            "",
            "",
            event["unreadable"],
        )
    else:
        metadata = event.get("metadata")
        known = metadata if isinstance(metadata, Mapping) else {}
        times = (cell(event.get("occurred_at")), cell(event.get("recorded_at")))
        of = (cell(event.get("version")), cell(event.get("_id")), cell(event.get("event_type")))
        cells = (*of, *times, cell(known.get("origin")), _record(known.get("source")))
    return (*cells, cell(_payload(event))) if payload else cells


def _trace(event: Document) -> str:
    trace = trace_in(event)
    return "" if trace is None else trace.trace_id


def _record(source: Any) -> str:
    """The record an event came from, as `trace` takes it."""
    if not isinstance(source, Mapping):
        return ""
    return ":".join(str(source.get(name)) for name in ("topic", "partition", "offset"))


def _payload(event: Document) -> Document:
    data = event.get("event_data")
    known = data if isinstance(data, Mapping) else {}
    said = {name: value for name, value in known.items() if name not in ("course_id", "user_id", *STREAM_IDS)}
    return {**said, **({"personal": event["personal"]} if event.get("personal") else {})}
