"""The progress role: holds a share of the slot groups, follows the event store, keeps `user_progress` current.

Everything it does may be done twice. A crash, a lost lease or a server that went away costs only the work since
the last saved token.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from projections import progress
from worker import __version__
from worker.contract.identity import stream_slot
from worker.errors import HistoryLost, Retryable, WorkerError
from worker.storage.database import Database
from worker.storage.leases import GroupLeases, Position, Positions, Token, group_name, group_slots, slot_group
from worker.storage.resume_tokens import token_time_s
from worker.storage.shares import GROUPS
from worker.telemetry.health import Component
from worker.telemetry.metrics import Metrics, RestartReason
from worker.telemetry.mongodb import retry_counter
from worker.timing import Backoff, Clock, Pace
from worker.watch.folds.catch_up import Interrupted, behind
from worker.watch.folds.fold import Projection
from worker.watch.folds.projector import NAME, Projector
from worker.watch.stream.change_stream import EventStream, Invalidated
from worker.watch.stream.checkpoint import TokenSaver
from worker.watch.stream.liveness import StreamLiveness
from worker.watch.stream.oplog_window import OplogWindow
from worker.watch.stream.resume_token import ahead, smallest

log = structlog.get_logger(__name__)

# Catching up folds this many streams, a second of work at most, before live changes get their turn.
_STREAMS_PER_CHUNK = 500


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How the role follows; the defaults fit one process with all roles."""

    code_version: str = __version__
    # A stream is read and written once a batch, however many of its changes the batch holds: 10,000 instead of
    # 2,000 makes a backlog of interleaved learners three times as fast. An idle stream gives small batches.
    changes_per_batch: int = 10_000
    # A turn costs eight commands, however few its changes.
    pace_s: float = 0.05
    await_ms: int = 500  # how long an idle turn takes: a beat, and a look at `stop`
    lease_s: float = 10.0
    renew_every_s: float = 3.0
    # Saving is one majority write; what a crash repeats in this time is harmless. Idle: see `TokenSaver`.
    save_every_s: float = 1.0
    save_idle_every_s: float = 10.0
    # The token moves with every renewal, every few seconds: this long without one, the majority is lost.
    silent_after_s: float = 60.0
    drain_deadline_s: float = 10.0


@dataclass(frozen=True, slots=True)
class StreamSession:
    """One open change stream, and the groups it is followed for, each with the epoch of its lease."""

    stream: EventStream
    held: Mapping[int, int]
    liveness: StreamLiveness
    saver: TokenSaver


class ProgressWatcher:
    """`run` returns after a drain and raises when something fails that waiting cannot heal.

    `owner` names this run of the process in the leases; one that exists elsewhere would share its groups.
    """

    name = NAME

    def __init__(
        self,
        database: Database,
        clock: Clock,
        component: Component,
        metrics: Metrics,
        options: WatchOptions,
        *,
        owner: str,
        projection: Projection = progress,
        seed: int | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._component = component
        self._metrics = metrics
        self._options = options
        self._projection = projection
        version = projection.PROJECTION_VERSION
        self._leases = GroupLeases(database, owner, watcher=NAME, lease_s=options.lease_s, version=version)
        self._positions = Positions(database, watcher=NAME, version=version)
        self._projector = Projector(
            database,
            projection,
            clock,
            metrics,
            code_version=options.code_version,
            barrier=self._leases.announce,
            keep_alive=self._keep_alive,
        )
        self._oplog_window = OplogWindow(database, NAME, clock, metrics)
        self._count_retry = retry_counter(metrics)
        self._backoff = Backoff(clock, component.beat, seed)
        self._pace = Pace(clock, options.pace_s)
        self._renew_at = 0.0
        self._resync_needed = False
        self._interrupted: Interrupted | None = None
        self._shown: Mapping[int, int] = {}
        metrics.prepare_leases(group_name(NAME, group) for group in range(GROUPS))

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until `stop`; then finish the batch, save the tokens and give the groups back."""
        while not stop.is_set():
            self._component.beat()
            try:
                await self._follow(stop)
            except HistoryLost as lost:
                invalidated = isinstance(lost, Invalidated)
                self._restarted(RestartReason.INVALIDATED if invalidated else RestartReason.HISTORY_LOST)
                log.warning("progress_history_lost", reason=str(lost))
                self._resync_needed, self._interrupted = True, None
                await self._backoff.wait(stop)
            except Retryable as error:
                self._restarted(RestartReason.RESUMABLE)
                self._count_retry(error)
                log.warning("progress_waits_for_mongodb", reason=str(error))
                await self._backoff.wait(stop)
        await self._leave()

    async def _follow(self, stop: asyncio.Event) -> None:
        """Share the groups and follow them until the share changes.

        1. take the groups  2. open the change stream where the slowest of them stopped  3. catch up those whose
        past is unknown  4. batch after batch: wake, fold, save the token
        """
        held = await self._share()  # 1
        if not held:
            await self._backoff.pause(stop, self._options.renew_every_s)
            return
        positions = await self._positions.take(held)
        usable = {} if self._resync_needed else _usable(positions)
        slots = [slot for group in held for slot in group_slots(group)]
        resumed, tokens = self._resumed(held), [*usable.values()]
        if resumed and self._interrupted is not None:
            tokens.append(self._interrupted.token)
        stream = await EventStream.open(self._database, slots, after=smallest(tokens))  # 2
        session = self._session(stream, held)
        try:
            unknown = self._unknown(positions, usable, session)
            if not await self._catch_up(session, unknown, resumed, stop):  # 3
                return  # what was not compared is not folded: no token says otherwise
            while not stop.is_set() and not await self._share_changed(session):  # 4
                await self._pace.keep(stop)
                await self._batch(session, self._options.await_ms)
                await self._save(session)
            await self._save(session, at_once=True)
        finally:
            await stream.close()

    async def _batch(self, session: StreamSession, await_ms: int) -> None:
        """One batch: whose streams moved, their documents folded. May run twice (see `Projector.project`)."""
        changed = await session.stream.next(self._options.changes_per_batch, await_ms=await_ms)
        self._metrics.change_stream_events_total.labels(NAME).inc(changed.changes)
        await self._projector.project(changed.heads)
        session.saver.took_effect(changed.changes)
        session.liveness.observe(session.stream.token, idle=not changed.changes)
        await self._oplog_window.measure(session.stream.token)
        self._backoff.reset()

    async def _catch_up(
        self, session: StreamSession, groups: Collection[int], resumed: Mapping[int, str], stop: asyncio.Event
    ) -> bool:
        """Compare and fold the groups whose past the change stream does not tell; False if it ends before that.

        The stream is open already. The barrier: what was stored before it was opened has a majority when the
        comparison reads. Live changes are folded every few hundred streams, so that freshness does not wait for a
        long past; and when the share changes it ends, so that a group taken meanwhile does not wait either: the
        next pass goes on where this one stood, for the groups that stayed. The tokens are saved at the end only.
        """
        if not groups:
            return True
        log.info("progress_catching_up", groups=len(groups), resumed=len(resumed))
        await self._leases.announce()
        streams, version = 0, self._projection.PROJECTION_VERSION
        async with aclosing(behind(self._database, groups, version, resumed)) as pages:
            async for page in pages:
                for some in _chunks(page.heads):
                    if stop.is_set() or await self._share_changed(session):
                        return False
                    await self._projector.project(some)
                    await self._batch(session, await_ms=1)
                streams += len(page.heads)
                self._came_to(session, groups, resumed, page.below)
        self._resync_needed, self._interrupted = False, None
        await self._save(session, at_once=True)
        log.info("progress_caught_up", groups=len(groups), streams=streams)
        return True

    def _came_to(
        self, session: StreamSession, groups: Collection[int], resumed: Mapping[int, str], below: str | None
    ) -> None:
        """Note that a page is done: fleets whose shares change all the time would start over for ever."""
        if below is None:
            self._interrupted = None
            return
        came = {group: (session.held[group], min(below, resumed.get(group, below))) for group in groups}
        self._interrupted = Interrupted(came, session.stream.token)

    def _resumed(self, held: Mapping[int, int]) -> dict[int, str]:
        return {} if self._interrupted is None else self._interrupted.resumed(held)

    def _unknown(
        self, positions: Mapping[int, Position], usable: Mapping[int, Token], session: StreamSession
    ) -> list[int]:
        """Groups to compare with the event store: no usable token, or one that another version saved."""
        current = self._projection.PROJECTION_VERSION
        known = {
            group
            for group, token in usable.items()
            if positions[group].version == current and not ahead(token, session.stream.opened_at_s)
        }
        return [group for group in session.held if group not in known]

    # ---- leases and tokens ----

    async def _share(self) -> Mapping[int, int]:
        """Say that we live, renew, take or give up groups; what is held now."""
        held = await self._leases.balance()
        self._renew_at = self._clock.monotonic() + self._options.renew_every_s
        self._show_leases(held)
        return held

    async def _keep_alive(self) -> None:
        """Between chunks of work: beat, and renew when it is due."""
        self._component.beat()
        if self._clock.monotonic() >= self._renew_at:
            await self._share()

    async def _share_changed(self, session: StreamSession) -> bool:
        await self._keep_alive()
        held = self._leases.held
        if held == session.held:
            return False
        lost = [group for group, epoch in session.held.items() if held.get(group) != epoch]
        if lost:
            self._restarted(RestartReason.LEASE_LOST)
        log.info("progress_groups_changed", held=len(held), lost=len(lost))
        return True

    async def _save(self, session: StreamSession, *, at_once: bool = False) -> None:
        """Save the token of every group still held: everything up to it is folded or quarantined."""
        kept = self._leases.held
        ours = {group: epoch for group, epoch in session.held.items() if kept.get(group) == epoch}
        await session.saver.save(ours, session.stream.token, at_once=at_once)

    def _session(self, stream: EventStream, held: Mapping[int, int]) -> StreamSession:
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
            stream, held, StreamLiveness(NAME, self._clock, self._metrics, options.silent_after_s), saver
        )

    async def _leave(self) -> None:
        """Give the groups back; if the server does not answer in time, the leases expire by themselves."""
        try:
            await asyncio.wait_for(self._leases.leave(), self._options.drain_deadline_s)
        except (WorkerError, TimeoutError) as error:
            log.warning("progress_leases_left_to_expire", reason=str(error))
        self._show_leases({})

    # ---- telling ----

    def _restarted(self, reason: RestartReason) -> None:
        self._metrics.change_stream_restarts_total.labels(NAME, reason).inc()

    def _show_leases(self, held: Mapping[int, int]) -> None:
        for group in self._shown.keys() | held.keys():
            name = group_name(NAME, group)
            self._metrics.lease_held.labels(name).set(group in held)
            if (group in held) != (group in self._shown):
                self._metrics.lease_transitions_total.labels(name).inc()
        if held.keys() != self._shown.keys():
            self._projector.frozen.retain(lambda stream: slot_group(stream_slot(str(stream))) in held)
        self._shown = held


def _usable(positions: Mapping[int, Position]) -> dict[int, Token]:
    """The tokens that can be ones; the server judges them again."""
    tokens = {group: position.token for group, position in positions.items()}
    return {group: token for group, token in tokens.items() if token and token_time_s(token) is not None}


def _chunks(heads: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """A page in parts of a round each; an empty page is one part, so that the live changes get their turn."""
    streams = list(heads)
    for start in range(0, len(streams) or 1, _STREAMS_PER_CHUNK):
        yield {stream: heads[stream] for stream in streams[start : start + _STREAMS_PER_CHUNK]}
