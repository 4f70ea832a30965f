"""What one run of the demo does on servers and a worker that are already up, step by step."""

import asyncio
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from rich.console import Console

from worker.devstack.demo.arrival import Published, RunWatch, Stalled, make_display
from worker.devstack.demo.course_timeline import print_counts, print_course_timeline, read_course_timeline
from worker.devstack.demo.input import DemoInput
from worker.devstack.demo.kept import leave_worker_url, print_urls, remove_worker_url
from worker.devstack.demo.options import DemoOptions
from worker.devstack.demo.platform_run import PlatformBefore, PlatformRun
from worker.devstack.demo.platform_writes import until_sent, until_statistics, write_platform
from worker.devstack.demo.progress_check import Difference, compare
from worker.devstack.demo.publishing import publish
from worker.devstack.demo.statistics_check import compare_statistics, read_stored
from worker.devstack.demo.stored import (
    Totals,
    count_known,
    count_other_events,
    count_totals,
    dead_letter_reasons,
    example_of,
    progress_documents,
)
from worker.devstack.demo.summary import Summary
from worker.devstack.demo.tables import print_course, print_learner, print_totals
from worker.devstack.servers.stack import Stack
from worker.devstack.servers.topics import topic_ends
from worker.devstack.servers.worker_process import WorkerCounts, WorkerProbe
from worker.devstack.simulator.platform_documents import PlatformDocument, Timing
from worker.devstack.simulator.totals import write_ledger
from worker.storage.database import Database
from worker.timing import Clock
from worker.verify.run import verify
from worker.words import counted

LOOK_EVERY_S = 0.5  # at what is kept running


def raise_if_cancelled() -> None:
    """Between steps: a driver may lose a cancellation that meets an answer."""
    current = asyncio.current_task()
    if current is not None and current.cancelling():
        raise asyncio.CancelledError


@dataclass(frozen=True, slots=True)
class Before:
    """How everything stood before the first record of a learner: what this run adds is measured against it.

    `counts` are by topic, `known` of the learners' events were stored already, `other_events` are neither of learners
    nor of payments. `platform` is how it stood before the platform's first record.
    """

    totals: Totals
    counts: Mapping[str, WorkerCounts]
    ends: Mapping[int, int]
    known: int
    other_events: int
    platform: PlatformBefore | None


@dataclass(frozen=True, slots=True)
class DemoRun:
    """One run: what it works on, and what it publishes."""

    stack: Stack
    database: Database
    worker: WorkerProbe
    options: DemoOptions
    sent: DemoInput
    console: Console
    clock: Clock

    def require_alive(self) -> None:
        """Raises StartFailed when a server or the worker has ended: nobody else would notice."""
        raise_if_cancelled()
        self.worker.require_alive()
        self.stack.require_alive()

    async def before(self) -> Before:
        """Have all there that stands before the first learner: the ledger, and what the platform is; then count."""
        if (simulation := self.sent.simulation) is not None:
            path, documents = self.stack.folder / "ledger.jsonl", simulation.platform.documents
            write_ledger(path, simulation.ledger, simulation.totals, documents)
            await write_platform(self.database, self._written(Timing.BEFORE))
        raise_if_cancelled()
        servers, topic = self.stack.kafka_bootstrap_servers, self.options.names.topic
        ends = await topic_ends(servers, topic, self.options.kafka)
        await self.worker.wait_until_ready(topic, len(ends))
        known = await count_known(self.database, self.sent.event_ids())
        platform = await self._before_term()
        counts = await self.worker.counts_of(self.options.topics)
        if counts is None:
            raise Stalled(f"the worker at {self.worker.url} does not answer any more: has it ended?")
        totals, others = await count_totals(self.database), await count_other_events(self.database)
        return Before(totals, counts, ends, known, others, platform)

    async def _before_term(self) -> PlatformBefore | None:
        """Publish what the platform says before learners begin, and wait for its documents."""
        if (run := self.platform) is None:
            return None
        before = await run.before()
        seconds = await run.before_term()
        published = counted(len(run.simulation.platform.before_term()), "event")
        self.console.print(
            f"the platform has published {published} of accounts, courses, their content and prices: "
            f"documents after {seconds:.1f} s",
            highlight=False,
        )
        return before

    @property
    def platform(self) -> PlatformRun | None:
        """The platform's part of the run, if it has one."""
        if self.sent.simulation is None or self.sent.platform is None:
            return None
        return PlatformRun(
            self.stack,
            self.database,
            self.worker,
            self.options,
            self.sent.simulation,
            self.clock,
            self.require_alive,
        )

    def _written(self, *timings: Timing) -> list[PlatformDocument]:
        """What a platform writes by itself that keeps courses, or users."""
        simulation, owned = self.sent.simulation, self.options.owned
        documents = [] if simulation is None else simulation.documents(*timings)
        return [each for each in documents if each.collection not in owned]

    async def publish_and_watch(self, before: Before) -> tuple[RunWatch, float]:
        """Publish while watching; the watch as it ended, and the seconds from first record to last document."""

        def require_alive() -> None:
            self.require_alive()
            if publishing.done():
                publishing.result()

        published, platform = Published(self.sent.total), self.platform
        watch = RunWatch(
            self.database,
            self.worker,
            before.counts,
            published,
            self.clock,
            require_alive,
            expected=platform.in_term() if platform else frozenset(),
            other_events=before.other_events,
        )
        publishing = asyncio.create_task(self._publish(published))
        try:
            with make_display(self.console, published) as display:
                ended = await watch.until_drained(display)
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
        return watch, ended - published.started_at

    async def _publish(self, published: Published) -> None:
        def start() -> None:
            published.started_at = self.clock.monotonic()

        def progress(count: int) -> None:
            published.count = count

        published.count = await publish(
            self.stack, self.options, self.clock, self.sent.records(), on_start=start, on_progress=progress
        )
        published.done = True

    async def after(self, watch: RunWatch) -> None:
        """Have the documents come that come after the events; wait for their statistics, and for the outbox."""
        late = self.sent.simulation.documents(Timing.AFTER) if self.sent.simulation else []
        await write_platform(self.database, self._written(Timing.AFTER))
        if (platform := self.platform) is not None:
            await platform.after_term()
        if watch.counting and late:
            seconds = await until_statistics(self.database, late, self.clock, self.require_alive)
            came = counted(len(late), "course and user document")
            self.console.print(f"{came} came late: statistics after {seconds:.1f} s", highlight=False)
        if watch.runs("notify"):
            waiting = await until_sent(self.database, self.clock, self.require_alive)
            if waiting:
                self.console.print(f"still to be sent: {counted(waiting, 'notification')}", highlight=False)
        raise_if_cancelled()

    async def summarise(self, before: Before, watch: RunWatch, seconds: float) -> Summary:
        """Compare with the ledger, verify, and count again."""
        findings = None
        if before.platform is not None and (platform := self.platform) is not None:
            findings = await platform.findings(before.platform)
        ledger = self.sent.simulation.ledger if self.sent.simulation else ()
        streams = [(entry.user_id, entry.course_id) for entry in ledger]
        documents = await progress_documents(self.database, streams)
        topic = self.options.names.topic
        statistics = await self._statistics() if watch.counting else []
        return Summary(
            published=watch.published.count - self.sent.meanwhile,
            unreadable=len(self.sent.unreadable),
            left_out=self.sent.statements.left_out.total(),
            before=before.totals,
            after=await count_totals(self.database),
            counts=watch.counts[topic],
            dead_letter_reasons=await dead_letter_reasons(self.database, topic, before.ends),
            verification=await verify(self.database, quiescent=True),
            differences=compare(ledger, documents),
            counting=watch.counting,
            statistics=statistics,
            simulation=self.sent.simulation,
            known=before.known,
            seconds=seconds,
            platform=findings,
        )

    async def _statistics(self) -> list[Difference]:
        simulation = self.sent.simulation
        if simulation is None:
            return []
        return compare_statistics(simulation, await read_stored(self.database, simulation))

    async def show(self, summary: Summary) -> None:
        """Print what could not be published, an example, and the summary."""
        for line in self.sent.unreadable[:10]:
            self.console.print(f"not published: {line}", markup=False)
        if left_out := str(self.sent.statements):
            self.console.print(left_out, markup=False)
        example = await example_of(self.database)
        if example is not None:
            print_learner(self.console, example)
            print_course(self.console, example)
        if summary.platform is not None:
            timeline = await read_course_timeline(self.database)
            if timeline is not None:
                print_course_timeline(self.console, timeline)
            print_counts(self.console, summary.platform.counted)
        print_totals(self.console, summary)

    async def keep(self) -> None:
        """Leave all as it is until Ctrl-C or SIGTERM; meanwhile another demo can find a worker of ours."""
        own = self.worker.process is not None
        if own:
            await leave_worker_url(self.database, self.stack.kafka_bootstrap_servers, self.worker.url)
        print_urls(self.console, self.stack, self.worker.url, self.options)
        await self._until_interrupted()
        if own:
            await remove_worker_url(self.database)

    async def _until_interrupted(self) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        while not stop.is_set():
            self.require_alive()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_EVERY_S)
