"""The progress projection: woken streams in; out come documents that follow the event store."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

import structlog
from pymongo.errors import BulkWriteError

from projections.progress import FOLDED_PATHS
from worker.contract.identity import stream_object_id
from worker.storage.database import Database, Document
from worker.storage.documents import void_document
from worker.storage.errors import translated, write_failures
from worker.telemetry.metrics import Applied, Metrics, Mode
from worker.timing import Clock
from worker.watch.aside import item_id, set_aside
from worker.watch.folding import By, Failure, Folded, Projection, fold_run
from worker.watch.plan import Plan, Run, Task, plan_round, run_of
from worker.watch.writing import moves, write_all

log = structlog.get_logger(__name__)

NAME = "progress"

Aside = Callable[[Sequence[Failure]], Awaitable[None]]

# Documents of learners with long courses have some 12 kB: with their events a round stays below about 50 MB.
_STREAMS_PER_ROUND = 500
_EVENTS_PER_ROUND = 4_000
# Of `$or` with one range per stream, chunks of 100 were the fastest (43 ms for 2,000 streams). Reading by event id
# takes 28 ms, but would make a datum of the change event; one `$in` reads whole histories (1,200 ms).
_STREAMS_PER_QUERY = 100
# Without a hint the server plans every range by itself, which takes as long as reading them.
_EVENT_INDEX = [("stream_id", 1), ("version", 1)]
# Folding holds the event loop; others, such as Kafka's heartbeat, get their turn at least this often.
_LONGEST_HOLD_S = 0.005
# Remembered failures spare a read and two folds each; forgetting one is harmless.
_REMEMBERED_FAILURES = 10_000

_DOCUMENT_PATHS = dict.fromkeys((*FOLDED_PATHS, "rev"), 1)
# What `StoredEvent.from_document` reads; the rest of an event stays on the server.
_EVENT_PATHS = dict.fromkeys(
    (
        "stream_id",
        "version",
        "event_type",
        "event_data",
        "personal.text",
        "curriculum",
        "occurred_at",
        "recorded_at",
        "schema_version",
    ),
    1,
)


@dataclass(frozen=True, slots=True)
class Remaining:
    """What a round leaves: streams to go round `again`, and streams whose events are not `visible` (yet)."""

    again: dict[str, int] = field(default_factory=dict)
    invisible: dict[str, int] = field(default_factory=dict)


class Projector:
    """Folds streams into `user_progress`; safe beside any number of others like it, of any version.

    `barrier` returns once everything stored before it has a majority. `breathe` is awaited after every round, a
    second of work at most: to beat, to renew leases. `aside` gets the failures; without one, each makes a queue
    item. A projector remembers where it failed and does not try there again: to retry, make a new one.
    """

    def __init__(
        self,
        database: Database,
        projection: Projection,
        clock: Clock,
        metrics: Metrics,
        *,
        code_version: str,
        barrier: Callable[[], Awaitable[None]],
        breathe: Callable[[], Awaitable[None]],
        events_per_round: int = _EVENTS_PER_ROUND,
        by: By = "live",
        aside: Aside | None = None,
    ) -> None:
        self._database = database
        self._projection = projection
        self._clock = clock
        self._metrics = metrics
        self._code_version = code_version
        self._barrier = barrier
        self._breathe = breathe
        self._events_per_round = events_per_round
        self._by = by
        self._aside = aside or self._make_items
        self._blocked: OrderedDict[str, Failure] = OrderedDict()

    async def project(self, heads: Mapping[str, int]) -> None:
        """Return when each stream's document has at least the version in `heads`, or the stream is set aside.

        May run twice, at the same time, anywhere: a document changes only from the `rev` that was read, and
        only forward. A version that was seen but cannot be read is looked for once more behind a barrier (a new
        primary may lag for a moment); if it stays away the event was erased, and the stream is left alone.
        """
        waiting = dict(heads)
        sought: set[str] = set()
        while waiting:
            some = dict(islice(waiting.items(), _STREAMS_PER_ROUND))
            for stream in some:
                del waiting[stream]
            remaining = await self._round(some)
            waiting.update(remaining.again)
            if unsought := {s: v for s, v in remaining.invisible.items() if s not in sought}:
                await self._barrier()
                sought.update(unsought)
                waiting.update(unsought)
            if gone := len(remaining.invisible) - len(unsought):
                log.warning("progress_events_gone", streams=gone)
            await self._breathe()

    async def _round(self, heads: Mapping[str, int]) -> Remaining:
        """Take each stream as far as one read of documents and events allows.

        1. load documents  2. plan  3. read events and fold them  4. write, guarded by `rev`  5. set failures
        aside, and note that more has come for earlier ones  6. fill holes. Streams that met a hole, lost a race or
        have more to read go round again.
        """
        documents = await self._load(heads)  # 1
        blocked = {stream: self._blocked[stream].version for stream in heads if stream in self._blocked}
        plan = plan_round(
            heads, documents, blocked, self._projection.PROJECTION_VERSION, self._events_per_round
        )  # 2
        results = await self._fold_all(plan)  # 3
        written = await write_all(self._database.user_progress, [one for one in results if moves(one)])  # 4
        self._count(plan, written.done)
        racing = {folded.task.stream for folded in written.unproven}
        failures = [one.failure for one in results if one.failure and one.task.stream not in racing]
        await self._set_aside([*failures, *written.refused])  # 5
        await self._remind(plan.blocked)
        await self._fill([one.run for one in results])  # 6
        invisible = {one.task.stream: heads[one.task.stream] for one in results if one.run.short}
        holes = {one.task.stream for one in results if one.run.missing and one.failure is None}
        refused = {failure.stream for failure in written.refused}
        again = plan.later | {stream: heads[stream] for stream in racing | holes}
        settled = invisible.keys() | refused
        return Remaining({s: v for s, v in again.items() if s not in settled}, invisible)

    async def _load(self, streams: Iterable[str]) -> dict[str, Document]:
        by_id = {stream_object_id(stream): stream for stream in streams}
        with translated():
            found = await self._database.user_progress.find(
                {"_id": {"$in": list(by_id)}}, _DOCUMENT_PATHS
            ).to_list(None)
        return {by_id[document["_id"]]: document for document in found}

    async def _read(self, tasks: Sequence[Task]) -> list[Run]:
        """The events each task needs, whatever else is stored by now."""
        found: dict[str, list[Document]] = {task.stream: [] for task in tasks}
        for start in range(0, len(tasks), _STREAMS_PER_QUERY):
            ranges = [
                {"stream_id": task.stream, "version": {"$gt": task.after, "$lte": task.upto}}
                for task in tasks[start : start + _STREAMS_PER_QUERY]
            ]
            query = self._database.course_events.find({"$or": ranges}, _EVENT_PATHS, hint=_EVENT_INDEX)
            with translated():
                events = await query.to_list(None)
            for event in events:
                found[event["stream_id"]].append(event)
        return [run_of(task, found[task.stream]) for task in tasks]

    async def _fold_all(self, plan: Plan) -> list[Folded]:
        short = [task for task in plan.tasks if task.events <= self._events_per_round]
        results: list[Folded] = []
        since = self._clock.monotonic()
        for run in await self._read(short):
            results.append(fold_run(self._projection, run, self._by))
            if self._clock.monotonic() - since > _LONGEST_HOLD_S:
                await self._clock.sleep(0)
                since = self._clock.monotonic()
        results += [await self._refold(task) for task in plan.tasks if task.events > self._events_per_round]
        return results

    async def _refold(self, task: Task) -> Folded:
        """Re-fold a long stream page by page, in memory: a reader never sees less than before."""
        after, carry = task.after, None
        while True:
            page = replace(task, after=after, upto=min(task.upto, after + self._events_per_round))
            [run] = await self._read([page])
            folded = fold_run(self._projection, run, self._by, carry)
            after, carry = page.after + folded.count, folded.fields
            if after < page.upto or after == task.upto:
                return replace(folded, count=after)
            await self._breathe()

    async def _set_aside(self, failures: Sequence[Failure]) -> None:
        """One queue item a stream; its later events wait in the event store."""
        await self._aside(failures)
        for failure in failures:
            self._blocked[failure.stream] = failure
        while len(self._blocked) > _REMEMBERED_FAILURES:
            self._blocked.popitem(last=False)
        self._applied(Applied.FAILED, len(failures))

    async def _remind(self, streams: Sequence[str]) -> None:
        """Say in their items that streams set aside have more events.

        An attempt that has read less of a stream, and succeeds, sees by it that it is not done: nobody else will
        wake the stream for these events.
        """
        if self._by == "live":
            failures = [self._blocked[stream] for stream in streams]
            await set_aside(self._database, failures, code_version=self._code_version)

    async def _make_items(self, failures: Sequence[Failure]) -> None:
        await set_aside(self._database, failures, code_version=self._code_version)
        for failure in failures:
            log.warning(
                "progress_set_aside",
                item=item_id(failure.stream),
                version=failure.version,
                error_class=failure.error_class,
                reason=failure.message,
            )

    async def _fill(self, runs: Sequence[Run]) -> None:
        """Put a void into each hole; the unique index decides between it and an insert in flight."""
        now = self._clock.now()
        voids = [void_document(run.task.stream, version, now) for run in runs for version in run.missing]
        if not voids:
            return
        filled = len(voids)
        try:
            with translated():
                await self._database.course_events.insert_many(voids, ordered=False)
        except BulkWriteError as error:
            if not all(failure.duplicate for failure in write_failures(error)):
                raise
            filled -= len(error.details["writeErrors"])
        self._metrics.version_holes_filled_total.inc(filled)
        log.info("progress_holes_filled", holes=len(voids), by_us=filled)

    def _count(self, plan: Plan, done: Sequence[Folded]) -> None:
        self._applied(Applied.STALE, plan.stale)
        self._applied(Applied.APPLIED, sum(folded.count for folded in done))
        if self._by != "live":
            return  # a retried event is late by the failure, not by the fold
        now = self._clock.now()
        freshness = self._metrics.projection_freshness_seconds.labels(NAME)
        news = (folded.run.events[: folded.count] for folded in done if not folded.task.refold)
        for event in chain.from_iterable(news):
            freshness.observe(max(0.0, (now - event["recorded_at"]).total_seconds()))

    def _applied(self, outcome: Applied, count: int) -> None:
        self._metrics.projection_events_applied_total.labels(NAME, Mode(self._by), outcome).inc(count)
