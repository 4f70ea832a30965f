"""One stream projection: dirty streams in; out come documents that follow the event store."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import chain, islice

import structlog

from projections.kinds import By
from projections.without_effect import refused_by_reason
from worker.contract.trace_context import trace_in
from worker.storage.database import Document
from worker.storage.event_traces import traces_of
from worker.storage.work_items import fold_item_id
from worker.telemetry.labels import Applied, Mode
from worker.telemetry.tracing import TRACE_PATHS, UNTRACED, Attributes, Tracing
from worker.timing import cancel_and_wait_shielded
from worker.watch.folds.decisions import Decisions
from worker.watch.folds.dependencies import FoldDependencies
from worker.watch.folds.failed_streams import quarantine_streams
from worker.watch.folds.fold import Failure, Folded, fold_run
from worker.watch.folds.holes import fill_holes, unfillable
from worker.watch.folds.parts import PartsWriter, PartsWritten
from worker.watch.folds.plan import Plan, Task, plan_round
from worker.watch.folds.reading import Records, Runs, read_records, read_runs
from worker.watch.folds.writing import Written, needs_write, write_all
from worker.watch.frozen import Frozen

log = structlog.get_logger(__name__)

OnFailures = Callable[[Sequence[Failure]], Awaitable[None]]

# What of them fits into a round is a matter of bytes: see `progress_reading`.
_STREAMS_PER_ROUND = 500
# The fewer streams wait, the sooner the first of them are written: rounds grow with the backlog, up to that number.
_ROUNDS_A_TURN = 4
_LEAST_STREAMS_PER_ROUND = 100
# Some MB of parts each, which are made and written while the round is: a second or two of work.
_STREAMS_WITH_PARTS_PER_ROUND = 20
_EVENTS_PER_ROUND = 4_000
# While one is written, the next one is read and folded: the worker computes while the server does. A job takes one
# after another, and leaves half of two cores to what is live.
_ROUNDS_IN_FLIGHT = 2
_ROUNDS_OF_A_JOB = 1
# A document that changes again and again between reading and writing is not just unlucky.
_LOST_RACES = 20
# While a round is written, whoever keeps leases hears of it this often.
_KEEP_ALIVE_EVERY_S = 1.0
# Folding holds the event loop; others, such as Kafka's heartbeat, get their turn at least this often.
_LONGEST_HOLD_S = 0.005
# Remembered failures spare a read and two folds each; forgetting one is harmless.
_REMEMBERED_FAILURES = 10_000


@dataclass(frozen=True, slots=True)
class Round:
    """Streams that are folded as far as this round takes them, and not written yet; `unread` have to be read on.

    `current` are the documents with parts that have nothing to be folded.
    """

    heads: Mapping[str, int]
    plan: Plan
    results: Sequence[Folded]
    unread: Set[str]
    began: datetime
    current: Sequence[Document] = ()


@dataclass(slots=True)
class Tally:
    """What a projector has done: so many `events` folded, documents `changed`, and documents right as they stood."""

    events: int = 0
    changed: set[str] = field(default_factory=set)
    unchanged: set[str] = field(default_factory=set)

    def add(self, written: Written, events: int, parts: Iterable[str] = ()) -> None:
        """What became of a round; `parts` are the streams of which a part was written or removed.

        Streams are counted once, however often they go round.
        """
        self.events += events
        self.changed.update(parts)
        self.changed.update(folded.task.stream for folded in written.done)
        self.unchanged.update(folded.task.stream for folded in written.current)
        self.unchanged -= self.changed


@dataclass(frozen=True, slots=True)
class Remaining:
    """What a round leaves: streams to go round `again`, and streams whose events are not `visible` (yet).

    `lost` are those of the former whose document changed between reading and writing.
    """

    again: dict[str, int] = field(default_factory=dict)
    invisible: dict[str, int] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()


class Projector:
    """Folds streams into the projection's documents; safe beside any number of others like it, of any version.

    `on_failures` gets the failures; without one, each makes a queue item. A projector remembers where it failed and
    does not try there again: to retry, make a new one.

    `doubting`: whatever the documents say, they are folded from their first event and replaced where they differ.
    What is done is noted in `tally`, if there is one, and each round is a span of `tracing`.
    """

    def __init__(
        self,
        given: FoldDependencies,
        *,
        events_per_round: int = _EVENTS_PER_ROUND,
        by: By = "live",
        on_failures: OnFailures | None = None,
        doubting: bool = False,
        tally: Tally | None = None,
        tracing: Tracing = UNTRACED,
    ) -> None:
        self._given = given
        self._database = given.database
        self._projection = given.projection
        self._documents = given.database.collection(given.projection.target.collection)
        self._clock = given.clock
        self._metrics = given.metrics
        self._events_per_round = events_per_round
        self._by = by
        self._on_failures = on_failures or self._put_items
        self._doubting = doubting
        self._tally = tally
        self._tracing = tracing
        self._event_paths = (*given.projection.event_paths, *(TRACE_PATHS if tracing.on else ()))
        self._decisions = Decisions(given.database, given.projection.name, given.clock)
        self._parts = None if given.projection.parts is None else PartsWriter(given, given.projection.parts)
        self._most_streams = _STREAMS_PER_ROUND if self._parts is None else _STREAMS_WITH_PARTS_PER_ROUND
        self._width = self._most_streams
        self._recheck: set[str] = set()
        self._blocked: OrderedDict[str, Failure] = OrderedDict()
        self.frozen = Frozen(given.projection.name, given.projection.version, given.clock, given.metrics)

    async def project(self, heads: Mapping[str, int]) -> None:
        """Return when each stream's document has at least the version in `heads`, or the stream is quarantined.

        May run twice, at the same time, anywhere: a document changes only from the `rev` that was read, and
        only forward. A version that was seen but cannot be read is looked for once more behind a barrier (a new
        primary may lag for a moment); if it stays away the event was erased, and the stream is left alone.

        Round by round: while one is written, the next one is folded. They have no stream in common: one that has to
        go round again waits until its round is written.
        """
        waiting = dict(heads)
        width = max(_LEAST_STREAMS_PER_ROUND, len(heads) // _ROUNDS_A_TURN)
        sought: set[str] = set()
        lost: Counter[str] = Counter()
        writing: deque[asyncio.Task[Remaining]] = deque()
        in_flight = _ROUNDS_OF_A_JOB if self._by == "replay" else _ROUNDS_IN_FLIGHT
        try:
            while waiting or writing:
                if waiting and len(writing) < in_flight:
                    folded = await self._fold_round(_taken(waiting, min(width, self._width)), sought)
                    writing.append(asyncio.create_task(self._write_round(folded)))
                    continue
                await self._wait_for(writing[0])
                remaining = await writing.popleft()
                lost.update(remaining.lost)
                waiting.update(await self._without_losers(remaining.again, lost))
                if unsought := {s: v for s, v in remaining.invisible.items() if s not in sought}:
                    await self._given.barrier()
                    sought.update(unsought)
                    waiting.update(unsought)
                if gone := len(remaining.invisible) - len(unsought):
                    log.warning(f"{self._projection.name}_events_gone", streams=gone)
                await self._given.keep_alive()
        finally:
            await cancel_and_wait_shielded(*writing)

    async def _wait_for(self, writing: asyncio.Task[Remaining]) -> None:
        """Return when the round is written. It may be one of many large parts: what is held stays held meanwhile."""
        while not (await asyncio.wait({writing}, timeout=_KEEP_ALIVE_EVERY_S))[0]:
            await self._given.keep_alive()

    async def preview(self, heads: Mapping[str, int]) -> AsyncGenerator[Folded]:
        """What folding each stream from its first event gives, as far as its document has come; nothing is written.

        A stream without a document is folded as far as `heads`. One whose fold fails, or that has a hole, comes with
        what stopped it.
        """
        waiting = dict(heads)
        while waiting:
            round_ = await self._fold_round(_taken(waiting, self._width), heads.keys(), as_far_as_folded=True)
            waiting |= {stream: heads[stream] for stream in round_.plan.later.keys() | round_.unread}
            for folded in round_.results:
                yield folded
            await self._given.keep_alive()

    async def _fold_round(
        self, heads: Mapping[str, int], sought: Set[str], *, as_far_as_folded: bool = False
    ) -> Round:
        """Take each stream as far as one read of documents and events allows.

        1. load documents  2. plan  3. read events and fold them; `_write_round` does the rest.
        """
        began = self._clock.now()
        # Whoever doubts a document, or shows it, needs all of it.
        as_bytes = None if self._doubting or as_far_as_folded else self._projection.large
        records = await read_records(self._documents, self._projection.paths, heads, as_bytes=as_bytes)  # 1
        self._width = len(records.documents) if records.unread else min(2 * self._width, self._most_streams)
        read = {stream: head for stream, head in heads.items() if stream not in records.unread}
        plan = self._plan(read, records, sought, as_far_as_folded=as_far_as_folded)  # 2
        results, unread = await self._fold_all(plan)  # 3
        current = self._current(read, records, plan) if self._parts is not None else ()
        return Round(heads, plan, results, unread | records.unread, began, current)

    async def _write_round(self, done: Round) -> Remaining:
        """Keep what was folded, and see to what could not be.

        4. write parts, then what names them, guarded by `rev`  5. quarantine failures, and note that more has come
        for earlier ones  6. fill holes. Streams that met a hole, lost a race or have more to read go round again.
        """
        heads, plan, results = done.heads, done.plan, done.results
        written = await self._write(done, [one for one in results if needs_write(one)])  # 4
        racing = frozenset(folded.task.stream for folded in written.unproven)
        failures = [
            failure
            for one in results
            if (failure := one.failure or unfillable(one.run)) and one.task.stream not in racing
        ]
        await self._quarantine([*failures, *written.rejected])  # 5
        await self._remind(plan.blocked)
        await fill_holes(self._given, [one.run for one in results if not unfillable(one.run)])  # 6
        invisible = {one.task.stream: heads[one.task.stream] for one in results if one.run.short}
        holes = {one.task.stream for one in results if one.run.missing and one.failure is None}
        rejected = {failure.stream for failure in [*failures, *written.rejected]}
        again = plan.later.keys() | racing | holes | done.unread
        finished = invisible.keys() | rejected
        self._trace(done)
        return Remaining({s: heads[s] for s in again if s not in finished}, invisible, racing)

    async def _write(self, done: Round, folded: Sequence[Folded]) -> Written:
        """Parts, then the documents that name them, and then parts that these name no more are removed.

        A document whose parts are not all there waits, and so does one that has lost a race. Who won that race may
        not know of the parts that this one has written since: they are looked at again. Who was killed before parts
        were removed is told of the stream again.
        """
        parts = PartsWritten() if self._parts is None else await self._parts.write(folded)
        written = await write_all(
            self._documents,
            [one for one in folded if one.task.stream not in parts.unready],
            unvalidated=self._database.unvalidated,
        )
        written.current.extend(one for one in done.results if one.unbegun)
        written.unproven.extend(one for one in folded if one.task.stream in parts.lost)
        written.rejected.extend(parts.rejected)
        if self._parts is not None:
            kept = [*written.done, *written.current]
            self._recheck -= {one.task.stream for one in kept}
            self._recheck |= {one.task.stream for one in written.unproven}
            leaving = [one.fields or {} for one in kept if self._parts.leaves_some(one)]
            parts.changed.update(await self._parts.remove([*leaving, *done.current]))
        self._count(done.plan, written, parts.changed)
        return written

    def _trace(self, done: Round) -> None:
        """A span of a round that is over, linked to the traces of the events that it folded."""
        if not self._tracing.on:
            return
        events = [event for one in done.results for event in one.run.events[: one.count]]
        attributes: Attributes = {
            "sevenp.projection": self._projection.name,
            "sevenp.mode": self._by,
            "sevenp.streams": len(done.results),
            "sevenp.events": len(events),
        }
        traces = partial(filter, None, map(trace_in, events))
        self._tracing.record("fold round", attributes, done.began, self._clock.now(), links=traces)

    def _current(self, heads: Mapping[str, int], records: Records, plan: Plan) -> list[Document]:
        """The documents of these streams that this fold made, and that have nothing to be folded."""
        at_work = {task.stream for task in plan.tasks} | plan.later.keys() | set(plan.blocked)
        return [
            records.documents[stream]
            for stream in heads.keys() & records.documents.keys() - at_work
            if records.documents[stream].get("projection_version") == self._projection.version
        ]

    def _plan(
        self, heads: Mapping[str, int], records: Records, sought: Set[str], *, as_far_as_folded: bool
    ) -> Plan:
        blocked = {stream: self._blocked[stream].version for stream in heads if stream in self._blocked}
        plan = plan_round(
            heads,
            records.documents,
            blocked,
            self._projection.version,
            self._events_per_round,
            doubted={s: s in sought for s in heads if self._doubting or s in self._recheck},
            as_far_as_folded=as_far_as_folded,
        )
        if self._by == "live":
            self.frozen.observe(plan.frozen, heads)
        return plan

    async def _without_losers(self, again: Mapping[str, int], lost: Mapping[str, int]) -> dict[str, int]:
        """Those to go round again; a stream that loses every race is quarantined."""
        losers = [stream for stream in again if lost.get(stream, 0) >= _LOST_RACES]
        message = "somebody else changes the document again and again"
        if losers:
            await self._quarantine([Failure(stream, again[stream], "Conflict", message) for stream in losers])
        return {stream: head for stream, head in again.items() if stream not in losers}

    async def _fold_all(self, plan: Plan) -> tuple[list[Folded], set[str]]:
        """What was folded, and the streams that have to be read on: not all events fit."""
        long = [task for task in plan.tasks if task.events > self._events_per_round]
        read = await self._read([task for task in plan.tasks if task not in long])
        results: list[Folded] = []
        since = self._clock.monotonic()
        for run in read.runs:
            if run.cut and run.task.refold:
                continue
            results.append(fold_run(self._projection, run, self._by))
            if self._clock.monotonic() - since > _LONGEST_HOLD_S:
                await self._clock.sleep(0)
                since = self._clock.monotonic()
        cut = {run.task.stream for run in read.runs if run.cut}
        paged = [task for task in plan.tasks if task in long or (task.refold and task.stream in cut)]
        results += [await self._refold(task) for task in paged]
        if self._projection.expires is not None:
            results = [self._unless_over(one, self._projection.expires) for one in results]
        unread = cut | {task.stream for task in read.unread}
        return results, unread - {task.stream for task in paged}

    def _unless_over(self, folded: Folded, expires: str) -> Folded:
        """What is over by itself, and gone, is as if it had never begun."""
        at = (folded.fields or {}).get(expires)
        is_over = folded.task.document is None and isinstance(at, datetime) and at <= self._clock.now()
        return replace(folded, begun=False) if is_over else folded

    async def _read(self, tasks: Sequence[Task]) -> Runs:
        """The tasks' events, without those that somebody has decided to leave out."""
        skips = await self._decisions.about(tasks)
        return await read_runs(self._database, tasks, self._event_paths, skips)

    async def _refold(self, task: Task) -> Folded:
        """Re-fold a long stream page by page, in memory: a reader never sees less than before."""
        after, carry = task.after, None
        while True:
            page = replace(task, after=after, upto=min(task.upto, after + self._events_per_round))
            [run] = (await self._read([page])).runs
            folded = fold_run(self._projection, run, self._by, carry)
            after, carry = run.task.after + folded.count, folded.fields
            if after < run.task.upto or after == task.upto:
                return replace(folded, run=replace(run, task=task), count=after)
            await self._given.keep_alive()

    async def _quarantine(self, failures: Sequence[Failure]) -> None:
        """One queue item a stream; its later events wait in the event store."""
        await self._on_failures(failures)
        for failure in failures:
            self._blocked[failure.stream] = failure
        while len(self._blocked) > _REMEMBERED_FAILURES:
            self._blocked.popitem(last=False)
        self._applied(Applied.FAILED, len(failures))

    async def _remind(self, streams: Sequence[str]) -> None:
        """Say in their items that quarantined streams have more events.

        An attempt that has read less of a stream, and succeeds, sees by it that it is not done: nobody else will
        wake the stream for these events.
        """
        if self._by == "live":
            failures = [self._blocked[stream] for stream in streams]
            await quarantine_streams(
                self._database, self._projection.name, failures, code_version=self._given.code_version
            )

    async def _put_items(self, failures: Sequence[Failure]) -> None:
        await quarantine_streams(
            self._database, self._projection.name, failures, code_version=self._given.code_version
        )
        await self._tell(failures)

    async def _tell(self, failures: Sequence[Failure]) -> None:
        """A line for each class of error, about the first of its streams: a defect may concern all there are."""
        by_class: dict[str, list[Failure]] = {}
        for failure in failures:
            by_class.setdefault(failure.error_class, []).append(failure)
        traces = await traces_of(self._database, (alike[0].event_id for alike in by_class.values()))
        for error_class, alike in by_class.items():
            first = alike[0]
            trace = traces.get(first.event_id)
            log.warning(
                f"{self._projection.name}_quarantined",
                streams=len(alike),
                error_class=error_class,
                reason=first.message,
                item=fold_item_id(first.stream, self._projection.name),
                version=first.version,
                event_id=None if first.event_id is None else str(first.event_id),
                trace_id=None if trace is None else trace.trace_id,
            )

    def _count(self, plan: Plan, written: Written, parts: Iterable[str]) -> None:
        done = [*written.done, *written.current]
        events = sum(folded.count for folded in done)
        if self._tally is not None:
            self._tally.add(written, events, parts)
        self._applied(Applied.STALE, plan.stale)
        self._applied(Applied.APPLIED, events)
        without_effect = self._metrics.projection_events_without_effect_total
        for folded in written.done if self._projection.reasons else ():
            for reason, count in _newly_refused(folded).items():
                if reason in self._projection.reasons:
                    without_effect.labels(self._projection.name, reason).inc(count)
        if self._by != "live":
            return  # a retried event is late by the failure, not by the fold
        now = self._clock.now()
        freshness = self._metrics.freshness_of(self._projection.name)
        news = (folded.run.events[: folded.count] for folded in done if not folded.task.refold)
        for event in chain.from_iterable(news):
            freshness.observe(max(0.0, (now - event["recorded_at"]).total_seconds()))

    def _applied(self, outcome: Applied, count: int) -> None:
        self._metrics.projection_events_applied_total.labels(
            self._projection.name, Mode(self._by), outcome
        ).inc(count)


def _newly_refused(folded: Folded) -> Mapping[str, int]:
    """How many events more than before the document lists as without effect, by why."""
    before, after = (refused_by_reason(each) for each in (folded.task.document, folded.fields))
    return {reason: more for reason, count in after.items() if (more := count - before.get(reason, 0)) > 0}


def _taken(waiting: dict[str, int], most: int) -> dict[str, int]:
    """The first streams of those that wait, which do so no longer."""
    some = dict(islice(waiting.items(), most))
    for stream in some:
        del waiting[stream]
    return some
