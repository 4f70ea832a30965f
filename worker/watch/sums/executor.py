"""Counting as a follower drives it: of every record, course or user that moved, the statistics."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from uuid import UUID

import structlog

from projections.counts import COUNTS_VERSION
from projections.counts.projection import COUNTS
from worker.errors import Fatal, UnknownAnswer
from worker.settings import CountsSettings
from worker.storage.database import Database, Document
from worker.storage.leases import Token
from worker.storage.transactions import Transactions
from worker.telemetry.metrics import Metrics
from worker.telemetry.mongodb import retry_counter
from worker.timing import Clock
from worker.watch.folds.refold import Refold
from worker.watch.follower import Page
from worker.watch.held_groups import HeldGroups
from worker.watch.stream.change_stream import ChangeStream
from worker.watch.sums.catch_up import missed
from worker.watch.sums.changes import dirty_keys, records_and_statistics
from worker.watch.sums.conflict_markers import WriteConflictMarkers
from worker.watch.sums.cool_down import CoolDown
from worker.watch.sums.counting import NAME, Counter, DirtyKeys
from worker.watch.sums.quarantine import Quarantine

log = structlog.get_logger(__name__)


class SumExecutor:
    """Counts the learners whose records moved, and rebuilds the statistics that somebody else wrote to."""

    name = NAME
    versions: Mapping[str, int] = {NAME: COUNTS_VERSION}

    def __init__(
        self,
        database: Database,
        clock: Clock,
        metrics: Metrics,
        groups: HeldGroups,
        settings: CountsSettings,
        seed: int | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._markers = WriteConflictMarkers(database)
        self._transactions = Transactions(database.client)
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
                next(each for each in database.catalogue.streams if each.name == COUNTS.source),
                clock,
                metrics,
                barrier=groups.barrier,
                keep_alive=groups.keep_alive,
                code_version=settings.code_version,
            ),
            seed=seed,
        )
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
        pipeline = records_and_statistics(after, own)
        records = self._database.user_progress
        return await ChangeStream.open(records, pipeline, after=after, whole_database=True)  # 3

    def keys(self, changes: Sequence[Document], before: Token) -> DirtyKeys:
        """Who moved; documents that somebody overwrites again and again wait for their turn."""
        return self._cool_down.admit(dirty_keys(changes), before, self._clock.monotonic())

    async def apply(self, keys: DirtyKeys, *, live: bool) -> None:
        """Count them. May run twice (see `Counter.count`)."""
        await self._counter.count(keys, live=live)

    async def missed(
        self, stale: Mapping[int, frozenset[str]], resumed: Mapping[int, str]
    ) -> AsyncGenerator[Page[DirtyKeys], None]:
        """Everything whose counting the change stream does not tell of; it starts over after an interruption."""
        async for page in missed(self._database, COUNTS_VERSION):
            yield Page([page])

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
