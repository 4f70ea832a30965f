"""The loop of every watcher, once: hold a share of the groups, follow one source, keep its documents current.

A follower knows no projection by name: an `Executor` opens the change stream, says what its changes mean, brings
documents up to date, and compares where the change stream cannot tell. Everything may be done twice: a crash, a lost
lease or a server that went away costs only the work since the last saved token.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

import structlog

from worker.backlog import Backlog
from worker.errors import HistoryLost, Retryable, WorkerError
from worker.gate import LOOK_AGAIN_S, Gate, Rate
from worker.held_groups import HeldGroups
from worker.settings import WatchSettings
from worker.storage.database import Database, Document
from worker.storage.leases import Token
from worker.storage.projection_state import Position, Positions
from worker.storage.resume_tokens import token_time_s
from worker.telemetry.health import Component
from worker.telemetry.labels import RestartReason
from worker.telemetry.metrics import Metrics
from worker.telemetry.mongodb import retry_counter
from worker.telemetry.waits import Wait
from worker.timing import Backoff, Clock, Pace
from worker.watch.stream.change_stream import ChangeStream, Invalidated
from worker.watch.stream.checkpoint import TokenSaver
from worker.watch.stream.liveness import StreamLiveness
from worker.watch.stream.oplog_window import OplogWindow
from worker.watch.stream.resume_token import ahead, smallest

log = structlog.get_logger(__name__)

_LOOK_AT_BACKLOG_S = 0.1

Keys = TypeVar("Keys")


@dataclass(frozen=True, slots=True)
class Page(Generic[Keys]):
    """A part of a comparison: what is behind, in chunks of a second of work at most where nobody limits it.

    `below`: all streams of this name or a later one are compared, so that another pass may go on below it. None where
    a pass that is interrupted has to start over.
    """

    chunks: Iterable[Keys]
    below: str | None = None


class Executor(Protocol[Keys]):
    """What a follower drives. `Keys` name what moved; every call may be made twice, and beside other workers'."""

    name: str
    """Of the watcher: in leases, positions, metrics and log events."""

    versions: Mapping[str, int]
    """Of each projection that is kept: whoever saves a token has brought its documents up to these."""

    async def open(self, groups: Iterable[int], after: Token | None) -> ChangeStream:
        """Follow these groups from a token on, or from now on. Raises HistoryLost where that cannot be."""

    def leave_out(self, projections: frozenset[str]) -> None:
        """Told before each `open` which projections are paused: `apply` leaves their documents as they are."""

    def keys(self, changes: Sequence[Document], before: Token) -> Keys:
        """What changes are about; `before` is the stream's token before them."""

    def joined(self, first: Keys, second: Keys) -> Keys:
        """What either is about, the `second` being of changes that came later."""

    def parts(self, keys: Keys) -> Iterable[Keys]:
        """Keys in parts of some seconds of work, which may be brought up to date one after another.

        One part where all of it has to be tried, whatever becomes of some of it.
        """

    def size(self, keys: Keys) -> int:
        """How many documents keys are about."""

    def split(self, keys: Keys, most: int) -> tuple[Keys, Keys | None]:
        """Keys of so many documents at most, one at least; and the others, None where that is all."""

    async def apply(self, keys: Keys, *, live: bool) -> None:
        """Return when the documents are current, or quarantined. `live`: the keys have just moved."""

    def missed(
        self, stale: Mapping[int, frozenset[str]], resumed: Mapping[int, str]
    ) -> AsyncGenerator[Page[Keys], None]:
        """Compare everything in these groups, for the projections named with each, page by page.

        Of `resumed` groups only what lies below the name. Only what had a majority when this was called is certain to
        be seen.
        """

    def covered(self, token: Token) -> Token:
        """The token up to which everything has had its effect, when everything before `token` was applied."""

    def holds(self, groups: Mapping[int, int]) -> None:
        """Told what is held after each renewal: others look after the rest."""

    async def tidy(self) -> None:
        """Called after every batch, for work that is due from time to time."""

    async def leave(self) -> None:
        """End what others would have to wait for."""


@dataclass(frozen=True, slots=True)
class StreamSession:
    """One open change stream, and the groups it is followed for, each with the epoch of its lease.

    `stale` groups are to be compared, each for the projections named. Those `left_out` are paused: a token that is
    saved says nothing of them, so that they are compared when they go on.
    """

    stream: ChangeStream
    held: Mapping[int, int]
    stale: Mapping[int, frozenset[str]]
    left_out: frozenset[str]
    liveness: StreamLiveness
    saver: TokenSaver


@dataclass(frozen=True, slots=True)
class Interrupted:
    """How far a comparison came that did not get to its end.

    Of each group, under the epoch of its lease, the streams from `below` up were compared, and the changes up to
    `token` have had their effect: a change stream opened there misses nothing of them.
    """

    below: Mapping[int, tuple[int, str]]
    token: Token

    def resumed(self, held: Mapping[int, int]) -> dict[int, str]:
        """Where to go on, for the groups that nobody else has had meanwhile."""
        return {group: below for group, (epoch, below) in self.below.items() if held.get(group) == epoch}


class Follower(Generic[Keys]):
    """`run` returns after a drain and raises when something fails that waiting cannot heal.

    `role` is what operators pause it by; while that is paused, or all of its projections are, it holds no groups.
    Followers of one role share its `rate`. While `backlog` says so, turns are `backlog_pace_s` apart.
    """

    def __init__(
        self,
        database: Database,
        executor: Executor[Keys],
        groups: HeldGroups,
        clock: Clock,
        component: Component,
        metrics: Metrics,
        settings: WatchSettings,
        seed: int | None = None,
        *,
        role: str = "",
        gate: Gate | None = None,
        rate: Rate | None = None,
        backlog: Backlog | None = None,
    ) -> None:
        self.name = executor.name
        self._role = role or executor.name
        self._gate = gate or Gate()
        self._rate = rate or Rate(clock, self._gate.rate(f"{self._role}_per_s"))
        self._left_out: frozenset[str] = frozenset()
        self._executor = executor
        self._groups = groups
        self._positions = Positions(database, watcher=executor.name, versions=executor.versions)
        self._clock = clock
        self.component = component
        self._metrics = metrics
        self._settings = settings
        self._oplog_window = OplogWindow(database, self.name, clock, metrics)
        self._count_retry = retry_counter(metrics)
        self._backoff = Backoff(clock, component.beat, seed)
        self._wait = Wait(log, clock, f"{self.name}_waits_for_mongodb")
        self._pace = Pace(clock, settings.pace_s)
        self._backlog = backlog or Backlog(clock)
        self._turn_began = clock.monotonic()
        self._resync_needed = False
        self._interrupted: Interrupted | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until `stop`; then finish the batch, or a part of a large one, and give the groups back.

        The token is saved behind what is whole.
        """
        while not stop.is_set():
            self.component.beat()
            try:
                if self._paused:
                    await self._rest(stop)
                else:
                    await self._follow(stop)
            except HistoryLost as lost:
                invalidated = isinstance(lost, Invalidated)
                self._restarted(RestartReason.INVALIDATED if invalidated else RestartReason.HISTORY_LOST)
                log.warning(f"{self.name}_history_lost", reason=str(lost))
                self._resync_needed, self._interrupted = True, None
                await self._backoff.wait(stop)
            except Retryable as error:
                self._restarted(RestartReason.RESUMABLE)
                self._count_retry(error)
                self._wait.failed(error)
                await self._backoff.wait(stop)
        await self._leave()

    async def _follow(self, stop: asyncio.Event) -> None:
        """Share the groups and follow them until the share changes.

        1. take the leases  2. read the positions, which fences former owners out  3. open the change stream where the
        slowest group stopped  4. behind a barrier, compare the groups whose past is unknown  5. batch after batch:
        read, apply, save the token
        """
        held = await self._groups.share()  # 1
        self._executor.holds(held)
        if not held:
            self._wait.over()
            self._metrics.forget_watcher(self.name)
            await self._backoff.pause(stop, self._settings.renew_every_s)
            return
        positions = await self._positions.take(held)  # 2
        session = await self._open(held, positions)  # 3
        try:
            if not await self._catch_up(session, stop):  # 4
                return  # what was not compared has had no effect: no token says otherwise
            while await self._may_go_on(session, stop):  # 5
                await self._pace.keep(stop)
                if self._leaves_it_to_ingest:
                    await self._backoff.pause(stop, _LOOK_AT_BACKLOG_S)
                    continue
                self._turn_began = self._clock.monotonic()
                if not await self._batch(session, stop, self._settings.await_ms):
                    return  # not all of this has had its effect: no token says otherwise
                await self._save(session)
                await self._executor.tidy()
            await self._save(session, at_once=True)
        finally:
            await session.stream.close()

    @property
    def _paused(self) -> bool:
        """Whether nothing of it is wanted: its role is paused, or each of its projections is."""
        kept = self._executor.versions.keys()
        return self._gate.pauses(self._role) or bool(kept and kept <= self._gate.switches.projections)

    async def _rest(self, stop: asyncio.Event) -> None:
        """Give the groups back, and ask MongoDB for nothing until somebody resumes, or `stop`.

        The saved tokens stay: what comes meanwhile is followed from there, or compared if the oplog has rolled past.
        """
        log.info(f"{self.name}_paused")
        self._interrupted = None
        await self._leave()
        while self._paused and not stop.is_set():
            await self._backoff.pause(stop, LOOK_AGAIN_S)
        log.info(f"{self.name}_resumed")

    async def _may_go_on(self, session: StreamSession, stop: asyncio.Event) -> bool:
        """Return when the rate has room; False where the session is to end.

        It is over when the share changed, when told to stop, and when something of it was paused or resumed.
        """
        while not stop.is_set() and not self._turned(session) and not await self._share_changed(session):
            if await self._rate.ready(stop):
                return True
        return False

    def _turned(self, session: StreamSession) -> bool:
        """Whether something of it was paused or resumed since the session began."""
        paused = self._executor.versions.keys() & self._gate.switches.projections
        return self._paused or paused != session.left_out

    async def _open(self, held: Mapping[int, int], positions: Mapping[int, Position]) -> StreamSession:
        """Open the change stream; groups are stale without a usable token, or with one that other code saved.

        A comparison that was interrupted goes on only for the same projections.
        """
        left_out = frozenset(self._executor.versions.keys() & self._gate.switches.projections)
        if left_out != self._left_out:
            self._left_out, self._interrupted = left_out, None
        self._executor.leave_out(left_out)
        usable = {} if self._resync_needed else _usable(positions)
        tokens = [*usable.values()]
        if self._interrupted is not None and self._interrupted.resumed(held):
            tokens.append(self._interrupted.token)
        stream = await self._executor.open(held, smallest(tokens))
        versions = {name: each for name, each in self._executor.versions.items() if name not in left_out}
        every = frozenset(versions)
        known = {group for group, token in usable.items() if not ahead(token, stream.opened_at_s)}
        stale = {group: _outdated(positions[group], versions) if group in known else every for group in held}
        settings, clock, metrics = self._settings, self._clock, self._metrics
        return StreamSession(
            stream,
            held,
            {group: projections for group, projections in stale.items() if projections},
            left_out,
            StreamLiveness(self.name, clock, metrics, settings.silent_after_s),
            TokenSaver(
                replace(self._positions, versions=versions).save,
                self.name,
                clock,
                metrics,
                every_s=settings.save_every_s,
                idle_every_s=settings.save_idle_every_s,
            ),
        )

    async def _catch_up(self, session: StreamSession, stop: asyncio.Event) -> bool:
        """Bring up to date whatever the change stream does not tell of; False if it ends before that.

        The stream is open already. The barrier: what was stored before it was opened has a majority when the
        comparison reads. Live changes are applied between the chunks, so that freshness does not wait for a long
        past; and when the share changes it ends, so that a group taken meanwhile does not wait either: the next pass
        goes on where this one stood, for the groups that stayed. The token is saved at the end only.
        """
        if not session.stale:
            return True
        resumed = {} if self._interrupted is None else self._interrupted.resumed(session.held)
        log.info(f"{self.name}_catching_up", groups=len(session.stale), resumed=len(resumed))
        await self._groups.barrier()
        async with aclosing(self._executor.missed(session.stale, resumed)) as pages:
            async for page in pages:
                for keys in page.chunks:
                    if not await self._compared(keys, session, stop):
                        return False
                self._came_to(session, resumed, page.below)
        self._resync_needed, self._interrupted = False, None
        await self._save(session, at_once=True)
        log.info(f"{self.name}_caught_up", groups=len(session.stale))
        return True

    async def _compared(self, keys: Keys, session: StreamSession, stop: asyncio.Event) -> bool:
        """Bring what was found behind up to date, and what moves meanwhile; False where the session is to end.

        No more at once than the rate has room for: while its time is waited for, the change stream would be silent.
        """
        rest: Keys | None = keys
        while rest is not None:
            if not await self._may_go_on(session, stop):
                return False
            some, rest = self._executor.split(rest, max(1, self._rate.room(self._executor.size(rest))))
            await self._executor.apply(some, live=False)
            self._rate.spend(self._executor.size(some))
            if not await self._batch(session, stop, await_ms=1):
                return False
        return True

    def _came_to(self, session: StreamSession, resumed: Mapping[int, str], below: str | None) -> None:
        """Note that a page is done: fleets whose shares change all the time would start over for ever."""
        if below is None:
            self._interrupted = None
            return
        came = {
            group: (session.held[group], min(below, resumed.get(group, below))) for group in session.stale
        }
        self._interrupted = Interrupted(came, session.stream.token)

    @property
    def _leaves_it_to_ingest(self) -> bool:
        """Whether the next turn is to wait: what comes meanwhile is done by it."""
        turn_at = self._turn_began + self._settings.backlog_pace_s
        behind = self._backlog.is_large and not self._rate.limited  # a rate is for each second
        return behind and self._clock.monotonic() < turn_at

    async def _batch(self, session: StreamSession, stop: asyncio.Event, await_ms: int) -> bool:
        """One turn: what moved is brought up to date. May run twice (see `Executor.apply`).

        False, with an effect on some of it at most, where the session is to end, or somebody paused or resumed
        something while it waited for changes.
        """
        keys, count = await self._next(session, await_ms)
        if count and self._turned(session):
            return False
        self._metrics.change_stream_events_total.labels(self.name).inc(count)
        for number, some in enumerate(self._executor.parts(keys)):
            if number and (stop.is_set() or self._turned(session) or self._groups.held != session.held):
                return False
            await self._executor.apply(some, live=True)
            self._rate.spend(self._executor.size(some))
        session.saver.took_effect(count)
        session.liveness.observe(session.stream.token, idle=not count)
        await self._oplog_window.measure(session.stream.token)
        self._backoff.reset()
        self._wait.over()
        return True

    async def _next(self, session: StreamSession, await_ms: int) -> tuple[Keys, int]:
        """What moved, and how many changes said so; the changes themselves are let go.

        While the follower is behind, it takes `batches_a_turn`, and the next one is read as these take effect.
        """
        before, limit = session.stream.token, max(1, self._rate.room(self._settings.changes_per_batch))
        changes = await session.stream.next(limit, await_ms=await_ms)
        keys, count = self._executor.keys(changes, before), len(changes)
        while len(changes) == limit and not self._rate.limited:
            if count >= self._settings.batches_a_turn * limit:
                session.stream.read_ahead(limit)
                break
            await self._groups.keep_alive()
            before = session.stream.token
            changes = await session.stream.next(limit, await_ms=1)
            keys = self._executor.joined(keys, self._executor.keys(changes, before))
            count += len(changes)
        return keys, count

    async def _share_changed(self, session: StreamSession) -> bool:
        """Renew when it is due; True where a group came or went, or came back under another epoch."""
        await self._groups.keep_alive()
        held = self._groups.held
        self._executor.holds(held)
        if held == session.held:
            return False
        lost = [group for group, epoch in session.held.items() if held.get(group) != epoch]
        if lost:
            self._restarted(RestartReason.LEASE_LOST)
        log.info(f"{self.name}_groups_changed", held=len(held), lost=len(lost))
        return True

    async def _save(self, session: StreamSession, *, at_once: bool = False) -> None:
        """Save the token of every group still held: everything up to it has had its effect, or is quarantined."""
        held = self._groups.held
        ours = {group: epoch for group, epoch in session.held.items() if held.get(group) == epoch}
        await session.saver.save(ours, self._executor.covered(session.stream.token), at_once=at_once)

    async def _leave(self) -> None:
        """Give the groups back; if the server does not answer in time, the leases expire by themselves."""
        try:
            await self._groups.leave(self._settings.drain_deadline_s, first=self._executor.leave)
        except (WorkerError, TimeoutError) as error:
            log.warning(f"{self.name}_leases_left_to_expire", reason=str(error))
        self._executor.holds({})
        self._metrics.forget_watcher(self.name)

    def _restarted(self, reason: RestartReason) -> None:
        self._metrics.change_stream_restarts_total.labels(self.name, reason).inc()


def _usable(positions: Mapping[int, Position]) -> dict[int, Token]:
    """The tokens that can be ones; the server judges them again."""
    tokens = {group: position.token for group, position in positions.items()}
    return {group: token for group, token in tokens.items() if token and token_time_s(token) is not None}


def _outdated(position: Position, versions: Mapping[str, int]) -> frozenset[str]:
    """The projections that whoever saved this position did not have, or had in another version."""
    return frozenset(name for name, version in versions.items() if position.versions.get(name) != version)
