"""Counting as a follower drives it: of every record, course or user that moved, the statistics."""

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog

from projections.counts import COUNTS_VERSION
from projections.counts.projection import COUNTS
from worker.errors import Fatal, UnknownAnswer
from worker.held_groups import HeldGroups
from worker.settings import CountsSettings
from worker.storage.database import Database, Document
from worker.storage.leases import Token
from worker.storage.transactions import Transactions
from worker.telemetry.metrics import Metrics
from worker.telemetry.mongodb import retry_counter
from worker.timing import Clock
from worker.watch.folds.refold import Refold
from worker.watch.follower import Page
from worker.watch.stream.change_stream import ChangeStream
from worker.watch.sums.catch_up import missed
from worker.watch.sums.changes import dirty_keys, moved_in, records_and_statistics
from worker.watch.sums.committer import Committer
from worker.watch.sums.conflict_markers import WriteConflictMarkers
from worker.watch.sums.cool_down import CoolDown
from worker.watch.sums.counting import NAME, Counter, DirtyKeys
from worker.watch.sums.quarantine import Quarantine
from worker.watch.sums.vectors import vector_sums

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Moved:
    """What `counts` has to count or to rebuild, and by collection what else has moved."""

    counts: DirtyKeys = field(default_factory=DirtyKeys)
    others: Mapping[str, Collection[Any]] = field(default_factory=dict)


class SumExecutor:
    """Keeps all sum projections over one change stream, whose token is as far as the slowest of them.

    `counts` counts the learners whose records moved, and rebuilds the statistics that somebody else wrote to; every
    other one does as its value says (`VectorSums`).
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        metrics: Metrics,
        groups: HeldGroups,
        settings: CountsSettings,
        seed: int | None = None,
    ) -> None:
        self.name = NAME
        self.versions: Mapping[str, int] = {each.name: each.version for each in database.catalogue.sums}
        self._database = database
        self._clock = clock
        self._settings = settings
        self._markers = WriteConflictMarkers(database)
        self._transactions = Transactions(database.client)
        sources = {each.name: each for each in database.catalogue.streams}
        self._counter = Counter(
            database,
            self._transactions,
            clock,
            metrics,
            keep_alive=groups.keep_alive,
            on_retry=retry_counter(metrics),
            notify_within=settings.notify_within,
            code_version=settings.code_version,
            refold=Refold(
                database,
                sources[COUNTS.source],
                clock,
                metrics,
                barrier=groups.barrier,
                keep_alive=groups.keep_alive,
                code_version=settings.code_version,
            ),
            seed=seed,
        )
        committer = Committer(self._transactions, clock, groups.keep_alive, retry_counter(metrics))
        self._vectors = vector_sums(database, committer, metrics, code_version=settings.code_version)
        self._quarantine = Quarantine(database, settings.code_version)
        self._cool_down = CoolDown(settings.cool_down)
        self._forget_at = 0.0

    async def open(self, groups: Iterable[int], after: Token | None) -> ChangeStream:
        """Follow the records: 1. end what a former holder left open  2. take over its items  3. open the stream.

        What waits for its turn lies behind the saved token: the stream tells of it again.
        """
        own = await self._end_former()  # 1
        await self._quarantine.adopt()  # 2
        self._cool_down.forget_waiting()
        sources = frozenset(each.source for each in self._vectors.values())
        shown = frozenset(name for each in self._vectors.values() for name in each.external)
        pipeline = records_and_statistics(after, own, sources, shown)
        records = self._database.user_progress
        return await ChangeStream.open(records, pipeline, after=after, whole_database=True)  # 3

    def keys(self, changes: Sequence[Document], before: Token) -> Moved:
        """Who moved; documents that somebody overwrites again and again wait for their turn."""
        counts = self._cool_down.admit(dirty_keys(changes), before, self._clock.monotonic())
        concerned = {name for each in self._vectors.values() for name in (each.source, *each.external)}
        return Moved(counts, moved_in(changes, concerned))

    async def apply(self, keys: Moved, *, live: bool) -> None:
        """Count them. May run twice (see `Counter.count` and `VectorSums.count`)."""
        await self._counter.count(keys.counts, live=live)
        for each in self._vectors.values():
            await each.count(keys.others.get(each.source, ()))
            for name in each.external:
                await each.show(name, keys.others.get(name, ()))

    async def missed(
        self, stale: Mapping[int, frozenset[str]], resumed: Mapping[int, str]
    ) -> AsyncGenerator[Page[Moved], None]:
        """Everything whose counting the change stream does not tell of; it starts over after an interruption."""
        names = {name for projections in stale.values() for name in projections}
        if NAME in names:
            async for page in missed(self._database, COUNTS_VERSION):
                yield Page([Moved(page)])
        for name in names & self._vectors.keys():
            sums = self._vectors[name]
            async for behind in sums.missed():
                yield Page([Moved(others={sums.source: behind})])
            async for collection, keys in sums.unshown():
                yield Page([Moved(others={collection: keys})])

    def covered(self, token: Token) -> Token:
        """It stays before documents that wait for their turn."""
        return self._cool_down.token_up_to(token)

    def holds(self, groups: Mapping[int, int]) -> None:
        if not groups:
            self._counter.stand_by()

    async def tidy(self) -> None:
        """Delete the markers that no transaction can still need."""
        if self._clock.monotonic() >= self._forget_at:
            await self._markers.forget()
            self._forget_at = self._clock.monotonic() + self._settings.forget_every_s

    async def leave(self) -> None:
        """Say that the session ended in good order, and end it."""
        await self._markers.release_session(await self._transactions.session_id())
        await self._transactions.close()

    async def _end_former(self) -> set[UUID]:
        """A killed process leaves its transaction open, and the documents in it locked for up to a minute.

        Returns the sessions that wrote, or will write, what is counted.
        """
        ours = await self._transactions.session_id()
        former = await self._markers.exchange_session(ours)
        if former is None:
            return {ours}
        try:
            await self._transactions.end_elsewhere(former)
        except (Fatal, UnknownAnswer) as error:
            # Hosted servers may not allow it; then the server ends it by itself.
            log.warning("counts_transaction_left_to_expire", reason=str(error))
        return {ours, former}
