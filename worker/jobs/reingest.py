"""The job `reingest`: reads the topic again, up to what the live group has committed, through the door of ingest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Self
from uuid import uuid4

from pydantic import Field, JsonValue, model_validator

from worker.errors import Refused
from worker.ingest.dead_letters import store_gaps
from worker.ingest.options import IngestOptions
from worker.ingest.reingest import Reingest, Step
from worker.jobs.context import JobContext
from worker.jobs.job import Job, JobArguments
from worker.jobs.locks import WRITES_ROWS
from worker.kafka.log_reader import LogReader, NotInTheLog
from worker.kafka.record import Partition
from worker.kafka.spans import Plan, Span, by_rounds, plan_of, told
from worker.storage.durable_offsets import OffsetRange, brought_back, missing_below, read_held
from worker.telemetry.health import Health

NAME = "reingest"
_EVERYTHING = 2**63 - 1
_REMEDY = "--accept-loss reads what is left, and records the gap"


class ReingestArguments(JobArguments):
    """Which records are read again; `missing` are those that the group has read and a restored store does not hold.

    Of all topics that the worker reads, unless `topics` names some of them; `partitions` are numbers in each. Times
    are Kafka's of the records. Without an end everything is read that the group has committed.
    """

    from_time: datetime | None = None
    from_offset: int | None = Field(None, ge=0)
    missing: bool = False
    to_time: datetime | None = None
    to_offset: int | None = Field(None, ge=0)
    partitions: tuple[int, ...] = ()
    topics: tuple[str, ...] = ()
    accept_loss: bool = False

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        begins = [self.from_time is not None, self.from_offset is not None, self.missing]
        if sum(begins) != 1:
            raise ValueError("say where to begin: --from-time, --from-offset or --missing, one of them")
        if self.to_time is not None and self.to_offset is not None:
            raise ValueError("--to-time and --to-offset are two ends: name one of them")
        if self.missing and (self.to_time is not None or self.to_offset is not None):
            raise ValueError("--missing knows its own end: leave --to-time and --to-offset out")
        return self

    @property
    def selection(self) -> Mapping[str, JsonValue]:
        chosen = self.model_dump(mode="json", exclude_defaults=True)
        return {name: value for name, value in chosen.items() if name != "accept_loss"}


async def run(context: JobContext, arguments: ReingestArguments) -> Mapping[str, JsonValue]:
    """Read what was asked for, in steps that are durable when they are saved.

    1. plan, once: a run that goes on has its spans  2. put what the log has no more on record, if that is accepted
    3. read the spans, those of different partitions beside each other  4. note in the leases what is there again

    What the group has not committed any more, since its offsets were reset or another group is named, is left and
    named: of a span the rest, or all of it.
    """
    options = IngestOptions.of(context.settings.kafka, context.settings.ingest)
    async with LogReader(options.consumer, context.clock) as reader:
        if context.checkpoint is not None:
            spans = _spans_in(context.checkpoint)
        else:
            plan = await _plan(context, arguments, reader)  # 1
            if context.dry_run:
                return _told(plan)
            if plan.lost and not arguments.accept_loss:
                raise NotInTheLog(f"the log has these records no more: {told(plan.lost)}. {_REMEDY}")
            await store_gaps(context.database, plan.lost, context.clock.now())  # 2
            spans = list(plan.spans)
            await context.total(plan.records)
            await context.advance(0, _checkpoint(spans))
        reading = Reingest(
            context.database,
            options,
            reader,
            context.clock,
            context.metrics,
            Health(context.clock).component(NAME),
            uuid4,
            origin=NAME,
        )
        for some in by_rounds(span for span in spans if not span.is_done):
            await reading.run(some, partial(_step, context, spans))  # 3
    read = [replace(span, end=span.next) for span in spans if span.next > span.begin]
    await _bring_back(context, read)  # 4
    left: list[JsonValue] = [_shown(span.next, span) for span in spans if not span.is_done]
    return {"spans": [_shown(span.begin, span) for span in read], **({"left": left} if left else {})}


async def _plan(context: JobContext, arguments: ReingestArguments, reader: LogReader) -> Plan:
    partitions = await reader.partitions()
    if unknown := {*arguments.topics} - {each.topic for each in partitions}:
        raise Refused(f"the worker reads no topic {', '.join(sorted(unknown))}, or there is none")
    if arguments.topics:
        partitions = [each for each in partitions if each.topic in arguments.topics]
    if arguments.partitions:
        partitions = [each for each in partitions if each.number in arguments.partitions]
    committed = await reader.committed(partitions)
    ranges = await reader.log_ranges(partitions)
    if arguments.missing:
        return plan_of(await _missing(context, committed), ranges, committed)
    begins = dict.fromkeys(partitions, arguments.from_offset or 0)
    if arguments.from_time is not None:
        begins = await reader.offsets_at(arguments.from_time, partitions)
    ends = dict.fromkeys(partitions, _EVERYTHING if arguments.to_offset is None else arguments.to_offset)
    if arguments.to_time is not None:
        ends |= await reader.offsets_at(arguments.to_time, partitions)
    asked = (Span.of(each, begins[each], ends[each]) for each in begins if begins[each] < ends[each])
    return plan_of(asked, ranges, committed)


async def _missing(context: JobContext, committed: Mapping[Partition, int]) -> list[Span]:
    """What the leases say is missing, and what they say when they are held against the group's offsets now."""
    held = await read_held(context.database, committed)
    return [
        Span.of(partition, each.first_offset, each.last_offset + 1)
        for partition, offset in committed.items()
        for each in missing_below(held.get(partition), offset)
    ]


async def _step(context: JobContext, spans: list[Span], step: Step) -> None:
    """Save the place: of the run's spans, those that were read are where the step left them.

    Their ends stay, where the step read less of them than was planned: what is left is the rest.
    """
    before = sum(span.left for span in spans)
    came_to = {(span.partition, span.begin): span.next for span in step.spans}
    spans[:] = [span.read_up_to(came_to.get((span.partition, span.begin), span.next)) for span in spans]
    left = sum(span.left for span in spans)
    await context.advance(before - left, _checkpoint(spans), **step.outcomes)


async def _bring_back(context: JobContext, spans: Iterable[Span]) -> None:
    for span in spans:
        covered = OffsetRange(span.begin, span.end - 1)
        await brought_back(context.database, span.partition, covered)


def _checkpoint(spans: Sequence[Span]) -> dict[str, Any]:
    return {"spans": [[*span.partition, span.begin, span.end, span.next] for span in spans]}


def _spans_in(checkpoint: Mapping[str, Any]) -> list[Span]:
    return [
        Span(Partition(topic, number), begin, end, following)
        for topic, number, begin, end, following in checkpoint["spans"]
    ]


def _told(plan: Plan) -> Mapping[str, JsonValue]:
    """What a dry run says."""
    lost: list[JsonValue] = [told([gap]) for gap in plan.lost]
    to_read: list[JsonValue] = [_shown(span.next, span) for span in plan.spans if not span.is_done]
    return {"records": plan.records, "spans": to_read, "lost": lost}


def _shown(begin: int, span: Span) -> str:
    return f"{span.partition.topic}/{span.partition.number} from {begin:,} to {span.end - 1:,}"


REINGEST = Job(
    NAME,
    ReingestArguments,
    run,
    lock=lambda _arguments: WRITES_ROWS,
    about="read the topic again, up to what the live group has committed",
    differs=lambda outcome: bool(outcome.get("left")),
)
