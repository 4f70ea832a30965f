"""The platform's part of a run: what it publishes before the term and after it, and what has to follow from it."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from projections.catalogue import SHARED
from worker.devstack.demo.arrival import NO_PROGRESS_LIMIT_S, POLL_S, SILENCE_LIMIT_S, Stalled
from worker.devstack.demo.documents_check import (
    COLLECTIONS,
    compare_documents,
    compare_stamps,
    compare_time_zones,
    count_by_collection,
    count_documents,
    read_documents,
    read_stamps,
    read_time_zones,
)
from worker.devstack.demo.input import event_ids
from worker.devstack.demo.options import DemoOptions
from worker.devstack.demo.platform_findings import STAMPS, PlatformFindings
from worker.devstack.demo.platform_writes import write_own_figures
from worker.devstack.demo.progress_check import Difference
from worker.devstack.demo.publishing import publish
from worker.devstack.demo.stored import Key, count_known, dead_letter_reasons, streams_behind
from worker.devstack.servers.stack import Stack
from worker.devstack.servers.topics import topic_ends
from worker.devstack.servers.worker_process import WorkerCounts, WorkerProbe
from worker.devstack.simulator.ledger import ExpectedDocument
from worker.devstack.simulator.lives.platform import OK, PlatformRecord
from worker.devstack.simulator.simulation import Simulation
from worker.storage.database import Database
from worker.telemetry.labels import Outcome
from worker.timing import Clock

AGREED_LIMIT_S = 30.0  # what is counted, or given by contests, follows within 5 s; a machine may be busy


@dataclass(frozen=True, slots=True)
class PlatformBefore:
    """How the platform stood before its first record: what is known of it, and where its topics ended."""

    known: int
    empty: bool
    ends: Mapping[str, Mapping[int, int]]
    counts: Mapping[str, WorkerCounts]


@dataclass(frozen=True, slots=True)
class PlatformRun:
    """What a simulation's platform does in one run. Its topics are all but the learners'."""

    stack: Stack
    database: Database
    worker: WorkerProbe
    options: DemoOptions
    simulation: Simulation
    clock: Clock
    require_alive: Callable[[], None]

    @property
    def topics(self) -> list[str]:
        return self.options.topics[1:]

    async def _known(self) -> int:
        """How many of the platform's events the store has."""
        published = (each.value for each in self.simulation.platform.records if each.outcome == OK)
        return await count_known(self.database, event_ids(published))

    @property
    def documents(self) -> list[ExpectedDocument]:
        """Those that the worker makes: others keep what is theirs."""
        others = SHARED - self.options.owned
        return [each for each in self.simulation.platform.documents if each.collection not in others]

    async def before(self) -> PlatformBefore:
        """What there is before anything is published."""
        servers = self.stack.kafka_bootstrap_servers
        ends = {topic: await topic_ends(servers, topic, self.options.kafka) for topic in self.topics}
        known = await self._known()
        empty = await self.database.course_events.estimated_document_count() == 0
        return PlatformBefore(known, empty, ends, await self._counts())

    async def before_term(self) -> float:
        """Publish what is said before the term; the seconds until every document of it is there."""
        unpaid = [each for each in self.documents if each.collection != "billing_transactions"]
        return await self._publish(self.simulation.platform.before_term(), _keys(unpaid))

    async def after_term(self) -> float:
        """Publish what comes late; the seconds until every document of it is there."""
        return await self._publish(
            self.simulation.platform.after_term(), _keys(self.documents, after_term=True)
        )

    def in_term(self) -> frozenset[Key]:
        """The documents that must be there when the term is over."""
        return _keys(self.documents)

    async def findings(self, before: PlatformBefore) -> PlatformFindings:
        """What differs from the ledger, once nothing does, or for half a minute."""
        end = self.clock.monotonic() + AGREED_LIMIT_S
        while (differences := await self._differences(before)) and self.clock.monotonic() < end:
            self.require_alive()
            await self.clock.sleep(POLL_S)
        counts = await self._counts()
        since = [counts[topic].since(before.counts[topic]) for topic in self.topics]
        dead_letters: Counter[str] = Counter()
        for topic in self.topics:
            dead_letters.update(await dead_letter_reasons(self.database, topic, before.ends[topic]))
        return PlatformFindings(
            records=self.simulation.platform.records,
            known=before.known,
            stored=await self._known(),
            duplicates=sum(each.of(Outcome.DUPLICATE) for each in since),
            dead_letters=dead_letters,
            expected=count_by_collection(self.documents),
            counted=await count_documents(self.database, [*COLLECTIONS]),
            differences=differences,
            stamped=self.options.owned >= SHARED,
        )

    async def _publish(self, records: Sequence[PlatformRecord], expected: Collection[Key]) -> float:
        started, before, topics = self.clock.monotonic(), await self._counts(), self.options.names.topics
        outgoing = (each.outgoing(topics) for each in records)
        published = await publish(self.stack, self.options, self.clock, outgoing)
        await self._until_current(before, published, expected)
        if "users" in self.options.owned:
            await write_own_figures(self.database, self.simulation)
        return self.clock.monotonic() - started

    async def _until_current(
        self, before: Mapping[str, WorkerCounts], published: int, expected: Collection[Key]
    ) -> None:
        """Raises Stalled when nothing moves any more."""
        last: tuple[int, int] | None = None
        moved_at = self.clock.monotonic()
        while True:
            self.require_alive()
            counts = await self._counts()
            accounted = sum(counts[topic].since(before[topic]).accounted for topic in self.topics)
            behind = await streams_behind(self.database, expected) if accounted >= published else []
            if accounted >= published and not behind:
                return
            if (now := (accounted, len(behind))) != last:
                last, moved_at = now, self.clock.monotonic()
            if self.clock.monotonic() - moved_at > NO_PROGRESS_LIMIT_S:
                raise Stalled(
                    f"nothing moved for {NO_PROGRESS_LIMIT_S:.0f} s: {published} records of the platform published, "
                    f"{accounted} accounted for, {len(behind)} streams behind: {', '.join(behind[:5])}"
                )
            await self.clock.sleep(POLL_S)

    async def _counts(self) -> Mapping[str, WorkerCounts]:
        """The worker's accounting of the platform's topics. Raises Stalled for a worker that does not answer."""
        end = self.clock.monotonic() + SILENCE_LIMIT_S
        while (found := await self.worker.counts_of(self.topics)) is None:
            self.require_alive()
            if self.clock.monotonic() > end:
                topics = ", ".join(self.topics)
                raise Stalled(f"the worker at {self.worker.url} does not say what it reads of {topics}")
            await self.clock.sleep(POLL_S)
        return found

    async def _differences(self, before: PlatformBefore) -> dict[str, list[Difference]]:
        """By collection, and by what learners' events are stamped with; none for what agrees."""
        found: dict[str, list[Difference]] = {}
        stored = await read_documents(self.database, self.documents)
        for difference in compare_documents(self.documents, stored):
            found.setdefault(difference.subject.partition(" ")[0], []).append(difference)
        if before.empty:
            for collection, surplus in (await self._surplus()).items():
                found.setdefault(collection, []).append(surplus)
        if self.options.owned >= SHARED and (stamps := await self._stamps()):
            found[STAMPS] = stamps
        return found

    async def _surplus(self) -> dict[str, Difference]:
        """Collections that have more documents than there must be."""
        expected = count_by_collection(self.documents)
        counted = await count_documents(self.database, expected)
        return {
            name: Difference(f"{name} as a whole", "documents", number, counted[name])
            for name, number in expected.items()
            if counted[name] > number
        }

    async def _stamps(self) -> list[Difference]:
        platform, ledger = self.simulation.platform, self.simulation.ledger
        stamps = await read_stamps(self.database, {entry.course_id for entry in ledger})
        zones = await read_time_zones(self.database, {entry.user_id for entry in ledger})
        return [*compare_stamps(platform, stamps), *compare_time_zones(platform, zones)]


def _keys(documents: Iterable[ExpectedDocument], *, after_term: bool = False) -> frozenset[Key]:
    """Documents that must be there; `after_term`: those of what is published last, too."""
    there = (each for each in documents if not each.may_be_gone and (after_term or not each.after_term))
    return frozenset((each.collection, each.key) for each in there)
