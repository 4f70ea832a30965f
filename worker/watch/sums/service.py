"""The counts role: one worker at a time follows the learners' records and keeps the statistics equal to their sum.

Everything it does may be done twice, also by two workers at once. A crash, a lost lease or a server that went
away costs only the work since the last saved token.
"""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import structlog

from projections.counts import COUNTS_VERSION
from worker import __version__
from worker.errors import Fatal, HistoryLost, Retryable, UnknownAnswer, WorkerError
from worker.storage.database import Database
from worker.storage.leases import GroupLeases, Position, Positions, group_name
from worker.storage.resume_tokens import token_time_s
from worker.storage.transactions import Transactions
from worker.telemetry.health import Component
from worker.telemetry.metrics import Metrics, RestartReason
from worker.telemetry.mongodb import retry_counter
from worker.timing import Backoff, Clock, Pace
from worker.watch.stream.change_stream import Invalidated
from worker.watch.stream.checkpoint import TokenSaver
from worker.watch.stream.liveness import StreamLiveness
from worker.watch.stream.oplog_window import OplogWindow
from worker.watch.stream.resume_token import ahead
from worker.watch.sums.catch_up import missed
from worker.watch.sums.changes import RecordStream
from worker.watch.sums.conflict_markers import WriteConflictMarkers
from worker.watch.sums.cool_down import CoolDown, CoolDownLimits
from worker.watch.sums.counting import NAME, Counter
from worker.watch.sums.lost_records import LostRecords
from worker.watch.sums.quarantine import Quarantine

log = structlog.get_logger(__name__)

# Two workers on the same course would wait for each other: one lease for all.
_GROUP = 0
_UNKNOWN = Position(token=None, version=None)


@dataclass(frozen=True, slots=True)
class CountsOptions:
    """How the role follows; the defaults fit one process with all roles."""

    # A learner is counted once a batch, however many of its changes the batch holds.
    changes_per_batch: int = 10_000
    # Nobody waits for statistics, and a turn costs a transaction.
    pace_s: float = 0.5
    await_ms: int = 500  # how long an idle turn takes: a beat, and a look at `stop`
    lease_s: float = 10.0
    renew_every_s: float = 3.0
    # Saving is one majority write; what a crash repeats in this time is harmless. Idle: see `TokenSaver`.
    save_every_s: float = 1.0
    save_idle_every_s: float = 10.0
    # The token moves with every renewal, every few seconds: this long without one, the majority is lost.
    silent_after_s: float = 60.0
    # Litter of a few hundred bytes per document that was absent once.
    forget_every_s: float = 600.0
    # An older milestone is not announced: whoever reads a history writes to nobody.
    notify_within: timedelta = timedelta(days=2)
    drain_deadline_s: float = 10.0
    # How often a document that somebody else goes on overwriting is summed.
    cool_down: CoolDownLimits = field(default_factory=CoolDownLimits)
    code_version: str = __version__


@dataclass(frozen=True, slots=True)
class StreamSession:
    """One open change stream, and the lease it is followed under."""

    stream: RecordStream
    epoch: int
    liveness: StreamLiveness
    saver: TokenSaver


class CountsWatcher:
    """`run` returns after a drain and raises when something fails that waiting cannot heal.

    `owner` names this run of the process in the lease; one that exists elsewhere would share it.
    """

    name = NAME

    def __init__(
        self,
        database: Database,
        clock: Clock,
        component: Component,
        metrics: Metrics,
        options: CountsOptions,
        *,
        owner: str,
        seed: int | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._component = component
        self._metrics = metrics
        self._options = options
        self._leases = GroupLeases(
            database, owner, watcher=NAME, lease_s=options.lease_s, groups=1, version=COUNTS_VERSION
        )
        self._positions = Positions(database, watcher=NAME, version=COUNTS_VERSION)
        self._markers = WriteConflictMarkers(database.watch_positions)
        self._transactions = Transactions(database.client)
        self._oplog_window = OplogWindow(database, NAME, clock, metrics)
        self._count_retry = retry_counter(metrics)
        self._counter = Counter(
            database,
            self._transactions,
            clock,
            metrics,
            keep_alive=self._keep_alive,
            on_retry=self._count_retry,
            notify_within=options.notify_within,
            code_version=options.code_version,
            fold_lost=LostRecords(
                database,
                clock,
                metrics,
                barrier=self._leases.announce,
                keep_alive=self._keep_alive,
                code_version=options.code_version,
            ),
            seed=seed,
        )
        self._quarantine = Quarantine(database, options.code_version)
        self._cool_down = CoolDown(options.cool_down)
        self._backoff = Backoff(clock, component.beat, seed)
        self._pace = Pace(clock, options.pace_s)
        self._renew_at = 0.0
        self._forget_at = 0.0
        self._resync_needed = False
        self._shown = False
        metrics.prepare_leases([group_name(NAME, _GROUP)])

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until `stop`; then finish the batch, save the token and give the lease back."""
        while not stop.is_set():
            self._component.beat()
            try:
                await self._follow(stop)
            except HistoryLost as lost:
                invalidated = isinstance(lost, Invalidated)
                self._restarted(RestartReason.INVALIDATED if invalidated else RestartReason.HISTORY_LOST)
                log.warning("counts_history_lost", reason=str(lost))
                self._resync_needed = True
                await self._backoff.wait(stop)
            except Retryable as error:
                self._restarted(RestartReason.RESUMABLE)
                self._count_retry(error)
                log.warning("counts_waits_for_mongodb", reason=str(error))
                await self._backoff.wait(stop)
        await self._leave()

    async def _follow(self, stop: asyncio.Event) -> None:
        """Take the lease and follow the records until it is lost.

        1. take the lease  2. end what a former holder left open  3. open the change stream where it stopped
        4. catch up if its past is unknown  5. batch after batch: wake, count, save the token
        """
        epoch = await self._share()  # 1
        if epoch is None:
            await self._backoff.pause(stop, self._options.renew_every_s)
            return
        own = await self._end_former()  # 2
        await self._quarantine.adopt()
        position = await self._position(epoch)
        token = position.token
        self._cool_down.forget_waiting()
        stream = await RecordStream.open(self._database, after=token, own=own)  # 3
        session = self._session(stream, epoch)
        try:
            known = token is not None and not ahead(token, stream.opened_at_s)
            ours = position.version == COUNTS_VERSION
            if not (known and ours) and not await self._catch_up(session, stop):  # 4
                return  # what was not compared is not counted: no token says otherwise
            while not stop.is_set() and not await self._lost(session):  # 5
                await self._pace.keep(stop)
                await self._batch(session, self._options.await_ms)
                await self._save(session)
                await self._forget()
            await self._save(session, at_once=True)
        finally:
            await stream.close()

    async def _batch(self, session: StreamSession, await_ms: int) -> None:
        """One batch: who moved, counted. May run twice (see `Counter.count`)."""
        before = session.stream.token
        dirty = await session.stream.next(self._options.changes_per_batch, await_ms=await_ms)
        self._metrics.change_stream_events_total.labels(NAME).inc(session.stream.changes)
        await self._counter.count(self._cool_down.admit(dirty, before, self._clock.monotonic()))
        session.saver.took_effect(session.stream.changes)
        session.liveness.observe(session.stream.token, idle=not session.stream.changes)
        await self._oplog_window.measure(session.stream.token)
        self._backoff.reset()

    async def _catch_up(self, session: StreamSession, stop: asyncio.Event) -> bool:
        """Count whatever the change stream does not tell of; False if told to stop before the end.

        The stream is open already. The barrier: what was stored before it was opened has a majority when the
        comparison reads. Live changes are counted between the pages. The token is saved at the end only: a
        restart in the middle begins again, and finds most of it done.
        """
        log.info("counts_catching_up")
        await self._leases.announce()
        async with aclosing(missed(self._database, COUNTS_VERSION)) as pages:
            async for page in pages:
                if stop.is_set():
                    return False
                await self._counter.count(page, live=False)
                await self._batch(session, await_ms=1)
                await self._keep_alive()
        self._resync_needed = False
        await self._save(session, at_once=True)
        log.info("counts_caught_up")
        return True

    async def _position(self, epoch: int) -> Position:
        """Where the change stream goes on; empty where that is unknown or not to be trusted."""
        position = (await self._positions.take({_GROUP: epoch})).get(_GROUP, _UNKNOWN)
        return _UNKNOWN if self._resync_needed or token_time_s(position.token) is None else position

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

    # ---- lease and token ----

    async def _share(self) -> int | None:
        """Say that we live, renew, or take the lease if it is free; its epoch while it is ours."""
        held = await self._leases.balance()
        self._renew_at = self._clock.monotonic() + self._options.renew_every_s
        self._show_lease(held)
        return held.get(_GROUP)

    async def _keep_alive(self) -> None:
        """Between chunks of work: beat, and renew when it is due."""
        self._component.beat()
        if self._clock.monotonic() >= self._renew_at:
            await self._share()

    async def _lost(self, session: StreamSession) -> bool:
        await self._keep_alive()
        if self._leases.held.get(_GROUP) == session.epoch:
            return False
        self._restarted(RestartReason.LEASE_LOST)
        log.info("counts_lease_lost")
        return True

    async def _save(self, session: StreamSession, *, at_once: bool = False) -> None:
        """Save the token: everything up to it is counted; it stays before documents that wait for their turn."""
        token = self._cool_down.token_up_to(session.stream.token)
        await session.saver.save({_GROUP: session.epoch}, token, at_once=at_once)

    def _session(self, stream: RecordStream, epoch: int) -> StreamSession:
        options = self._options
        saver = TokenSaver(
            self._positions.save,
            NAME,
            self._clock,
            self._metrics,
            every_s=options.save_every_s,
            idle_every_s=options.save_idle_every_s,
        )
        return StreamSession(
            stream, epoch, StreamLiveness(NAME, self._clock, self._metrics, options.silent_after_s), saver
        )

    async def _forget(self) -> None:
        if self._clock.monotonic() >= self._forget_at:
            await self._markers.forget()
            self._forget_at = self._clock.monotonic() + self._options.forget_every_s

    async def _leave(self) -> None:
        """Give the lease back; if the server does not answer in time, it expires by itself."""
        try:
            async with asyncio.timeout(self._options.drain_deadline_s):
                await self._markers.release_session(await self._transactions.session_id())
                await self._transactions.close()
                await self._leases.leave()
        except (WorkerError, TimeoutError) as error:
            log.warning("counts_lease_left_to_expire", reason=str(error))
        self._show_lease({})

    def _restarted(self, reason: RestartReason) -> None:
        self._metrics.change_stream_restarts_total.labels(NAME, reason).inc()

    def _show_lease(self, held: Mapping[int, int]) -> None:
        lease, holds = group_name(NAME, _GROUP), _GROUP in held
        self._metrics.lease_held.labels(lease).set(holds)
        if not holds:
            self._counter.stand_by()
        if holds != self._shown:
            self._metrics.lease_transitions_total.labels(lease).inc()
        self._shown = holds
