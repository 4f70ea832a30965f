"""The job `backfill`: publishes events from files to the topic, as history, at a bounded rate.

Through Kafka, not around it: the group that reads the topic stores them like every other event, and may read them
again. Each record names the job in a header, so that nobody is notified of what its event reaches.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from pydantic import Field, JsonValue

from worker.jobs.context import JobContext
from worker.jobs.job import Job, JobArguments, Outcome
from worker.jobs.sending import Send, sending
from worker.kafka.addressing import addressed
from worker.kafka.checking import EXAMPLES_KEPT
from worker.kafka.file_records import Chunk, FileRecords
from worker.kafka.files import Format
from worker.kafka.lines import STANDARD_INPUT, open_source
from worker.kafka.resumable import Place
from worker.storage.retrying import retrying
from worker.telemetry.waits import Wait
from worker.timing import Throttle, in_thread

log = structlog.get_logger(__name__)

NAME = "backfill"
_RECORDS_A_STEP = 500


class BackfillArguments(JobArguments):
    """Which files, in which format, and how many records a second at most; 0 for as many as Kafka takes."""

    files: tuple[str, ...] = Field(min_length=1)
    format: Format = "native"
    rate: int = Field(1_000, ge=0)


async def run(context: JobContext, arguments: BackfillArguments) -> Mapping[str, JsonValue]:
    """File after file, chunk after chunk: read, published and acknowledged, then the place saved.

    A run that goes on reads a file from its begin, and passes the lines it knows. A dry run only reads.
    """
    settings, examples = context.settings, list[str]()
    file, place = _place_in(context.checkpoint)
    records = FileRecords(arguments.format, NAME, settings.ingest.limits, settings.ingest.xapi_home_page)
    size = min(_RECORDS_A_STEP, arguments.rate or _RECORDS_A_STEP)
    throttle = Throttle(context.clock, arguments.rate or None)
    async with sending(context, settings.ingest.topics.interactions) as send:
        await context.total(await in_thread(partial(_lines, arguments.files)))
        for number, name in list(enumerate(arguments.files))[file:]:
            with open_source(_path(name)) as source:
                begin = place if number == file else Place()
                chunks = records.chunks(source, name, begin, size, context.clock.now())
                while (chunk := await in_thread(partial(next, chunks, None))) is not None:
                    if not context.dry_run:
                        await throttle.wait_for(len(chunk.records))
                        await _published(context, send, chunk)
                    await _saved(context, number, chunk)
                    examples = [*examples, *(f"{name}, {line}" for line in chunk.examples)][:EXAMPLES_KEPT]
            await _at(context, number + 1)
    return {"invalid": context.progress.counts.get("invalid", 0), "examples": list(examples)}


async def _published(context: JobContext, send: Send, chunk: Chunk) -> None:
    """Have all of the chunk acknowledged; while no broker answers, again: event ids decide what is a duplicate."""
    records = list(addressed(chunk.records, context.settings.ingest.topics))
    await _with_retry(context, partial(send, records))


async def _saved(context: JobContext, number: int, chunk: Chunk) -> None:
    """Save the place behind a chunk; while MongoDB is away, again: standard input cannot be read a second time."""
    place = {"file": number, "lines": chunk.place.lines, "digest": chunk.place.digest}
    counts = {"published": len(chunk.records), "invalid": chunk.invalid, "left_out": chunk.left_out}
    await _with_retry(context, partial(context.advance, chunk.lines, place, **counts))


async def _at(context: JobContext, number: int) -> None:
    await _with_retry(context, partial(context.advance, 0, {"file": number, "lines": 0, "digest": ""}))


async def _with_retry(context: JobContext, step: Callable[[], Awaitable[object]]) -> None:
    """A step that may be made twice, for as long as its server is away."""
    wait = Wait(log, context.clock, "backfill_waits", run=context.run_id)
    await retrying(step, clock=context.clock, on_retry=wait.failed)
    wait.over()


def _place_in(checkpoint: Mapping[str, Any] | None) -> tuple[int, Place]:
    known = checkpoint or {"file": 0, "lines": 0, "digest": ""}
    return known["file"], Place(known["lines"], known["digest"])


def _path(name: str) -> Path:
    """Standard input is opened like a file: it is read beside the event loop, which may end before it does."""
    return Path("/dev/stdin") if Path(name) == STANDARD_INPUT else Path(name)


def _lines(files: Sequence[str]) -> int | None:
    """Lines of all files; None where one of them can be read once only."""
    total = 0
    for name in files:
        if not _path(name).is_file():
            return None
        with open_source(_path(name)) as source:
            total += sum(1 for _ in source.lines())
    return total


def _has_invalid(outcome: Outcome) -> bool:
    return bool(outcome["invalid"])


BACKFILL = Job(
    NAME,
    BackfillArguments,
    run,
    about="publish events from files to the topic, as history: nobody is notified",
    differs=_has_invalid,
)
