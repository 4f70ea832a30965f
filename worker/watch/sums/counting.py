"""Counting: dirty learners, courses and users in; out come statistics that equal the sum over projections."""

import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from bson import ObjectId
from pymongo import InsertOne, ReplaceOne

from projections.counts import COUNTS_VERSION, Step
from worker import __version__
from worker.chunks import chunks
from worker.errors import Refused, Retryable
from worker.storage.database import Database
from worker.storage.reading import Reading
from worker.storage.refused_rows import RowTarget
from worker.storage.transactions import Session, Transactions
from worker.telemetry.metrics import Applied, Metrics, Mode, NotificationOutcome
from worker.timing import Clock
from worker.watch.folds.refold import Refold
from worker.watch.frozen import Frozen
from worker.watch.sums.lost_records import lost
from worker.watch.sums.plan import Kind, Target, deltas_of
from worker.watch.sums.quarantine import Quarantine, Reason, Rejections
from worker.watch.sums.reading import COUNTED, RECORD, Allowance, TooLarge
from worker.watch.sums.rows import RowsWritten, billing, notifications, write_rows
from worker.watch.sums.statistics import Statistics
from worker.watch.sums.steps import Counting, take_steps
from worker.watch.sums.writing import RejectedWrite, Write, write_each

log = structlog.get_logger(__name__)

NAME = "counts"

# Larger transactions are hardly faster, and hold the documents of courses and users longer.
_LEARNERS_PER_TRANSACTION = 1_500
# Each of these is summed over all its projections.
_COURSES_PER_TRANSACTION = 20
_USERS_PER_TRANSACTION = 500
# Somebody else's writes to a few documents pass at once. A chunk that goes on conflicting is split.
_ATTEMPTS = 5
_SPLIT_AFTER = 2
_LONGEST_WAIT_S = 0.5
# How long a document the server refused is left alone while its learners go on moving.
_COOL_DOWN_S = 600.0
# Said once each, until so many were.
_MOST_LOGGED = 10_000
# Which learners are quarantined is asked this often: the items of those that are counted meanwhile are closed.
_LOAD_EVERY_S = 10.0

_KINDS: tuple[tuple[Kind, str], ...] = (("learner", "learners"), ("course", "courses"), ("user", "users"))


@dataclass(frozen=True, slots=True)
class DirtyKeys:
    """Learners (`_id` of their record) whose record moved; courses and users to rebuild."""

    learners: frozenset[ObjectId] = frozenset()
    courses: frozenset[ObjectId] = frozenset()
    users: frozenset[ObjectId] = frozenset()

    def __len__(self) -> int:
        return len(self.learners) + len(self.courses) + len(self.users)

    def chunks(self) -> Iterator["DirtyKeys"]:
        """Parts for one transaction each, by number; how large their documents are shows when they are read."""
        for learners in chunks(self.learners, _LEARNERS_PER_TRANSACTION):
            yield DirtyKeys(learners=frozenset(learners))
        for courses in chunks(self.courses, _COURSES_PER_TRANSACTION):
            yield DirtyKeys(courses=frozenset(courses))
        for users in chunks(self.users, _USERS_PER_TRANSACTION):
            yield DirtyKeys(users=frozenset(users))

    def targets(self) -> Iterator[Target]:
        """Each document of it."""
        for kind, ids in _KINDS:
            yield from ((kind, each) for each in getattr(self, ids))

    def split(self) -> tuple["DirtyKeys", "DirtyKeys"]:
        split = [_split(each) for each in (self.learners, self.courses, self.users)]
        return DirtyKeys(*(half[0] for half in split)), DirtyKeys(*(half[1] for half in split))


class Counter:
    """Counts learners and sums statistics; safe beside any number of others like it.

    `keep_alive` is awaited after every transaction, some tenths of a second: to beat, to renew leases. A milestone
    older than `notify_within` when it is counted is not announced. `refold` brings records back that went back
    behind what was counted of them.
    """

    def __init__(
        self,
        database: Database,
        transactions: Transactions,
        clock: Clock,
        metrics: Metrics,
        *,
        keep_alive: Callable[[], Awaitable[None]],
        on_retry: Callable[[Retryable], None],
        notify_within: timedelta,
        code_version: str = __version__,
        refold: Refold | None = None,
        seed: int | None = None,
    ) -> None:
        self._database = database
        self._transactions = transactions
        self._clock = clock
        self._metrics = metrics
        self._keep_alive = keep_alive
        self._on_retry = on_retry
        self._notify_within = notify_within
        self._code_version = code_version
        self._refold = refold
        self.frozen = Frozen(NAME, COUNTS_VERSION, clock, metrics)
        self._accepted: frozenset[ObjectId] = frozenset()
        self._random = random.Random(seed)  # noqa: S311  # jitter, not a secret
        self._quarantine = Quarantine(database, code_version)
        self._statistics = Statistics(database, self._quarantine)
        self._cooling: dict[Target | RowTarget, tuple[float, Reason]] = {}
        self._retrying: frozenset[Target] = frozenset()
        self._rejected: dict[Target, Reason] = {}
        self._logged: dict[Target | RowTarget, Reason] = {}
        self._quarantined: frozenset[ObjectId] = frozenset()
        self._load_at = clock.monotonic()
        self._width = _LEARNERS_PER_TRANSACTION

    async def count(self, dirty: DirtyKeys, *, live: bool = True) -> None:
        """Return when every dirty learner is counted and every dirty course and user is rebuilt.

        May run twice, at the same time, anywhere: a projection changes only from the revision that was read,
        together with everything that follows from it. `live`: the learners have just moved, so that their
        freshness means something. What cannot be read or written is quarantined, and nobody waits for it.
        """
        if self._clock.monotonic() >= self._load_at:
            await self._load_quarantined()
        for chunk in dirty.chunks():
            await self._count_chunk(chunk, live=live)

    def stand_by(self) -> None:
        """Say that somebody else counts: what stands still is theirs to tell."""
        self.frozen.retain(lambda _: False)

    async def _load_quarantined(self) -> None:
        """Learn which learners are quarantined; where that fails, the next call asks."""
        try:
            self._quarantined = await self._quarantine.open_learners()
            self._load_at = self._clock.monotonic() + _LOAD_EVERY_S
        except Retryable as error:
            self._on_retry(error)

    async def recount(self, targets: Set[Target]) -> dict[Target, Reason]:
        """Try what was quarantined; returns what still cannot be read or written.

        May run twice, and beside others.
        """
        self._retrying = frozenset(targets)
        self._rejected = {}
        for target in self._retrying:
            self._cooling.pop(target, None)
        some: dict[Kind, set[ObjectId]] = {"learner": set(), "course": set(), "user": set()}
        for kind, identity in self._retrying:
            some[kind].add(identity)
        try:
            for chunk in DirtyKeys(*map(frozenset, (some["learner"], some["course"], some["user"]))).chunks():
                await self._count_chunk(chunk, live=False)
        finally:
            self._retrying = frozenset()
        return dict(self._rejected)

    async def _count_chunk(self, chunk: DirtyKeys, *, live: bool) -> None:
        """Count a chunk; one that goes on conflicting, or being refused, or does not fit, is split."""
        counting = await self._committed(chunk) if len(chunk) <= self._width else None
        if counting is None:
            for half in chunk.split():
                await self._count_chunk(half, live=live)
            return
        if counting.has_room:
            self._width = min(max(self._width, 2 * len(chunk)), _LEARNERS_PER_TRANSACTION)
        self._observe(counting, live=live)
        if self._refold is not None:  # the one that follows, not one that retries
            self.frozen.observe(counting.frozen, chunk.learners)
        if counting.lost:
            await self._recover(counting.lost, live=live)

    async def _committed(self, chunk: DirtyKeys) -> Counting | None:
        """Run one transaction until it commits; None where parts of it may do better.

        After a conflict the documents of courses and users are held from the first command on. Nothing is awaited
        while an error is handled: it would keep alive whatever its transaction had read.
        """
        conflicts = rejections = 0
        locked: frozenset[Target] = frozenset()
        while True:
            wait_s = 0.0
            try:
                counting = await self._transactions.run(partial(self._transact, chunk, locked))
            except TooLarge as error:
                self._width = max(1, min(len(chunk) // 2, int(len(chunk) * error.fitting)))
                return None
            except (RejectedWrite, Refused) as error:
                self._cool_down_target(error, chunk)
                rejections += 1
                if (rejections >= _SPLIT_AFTER or isinstance(error, Refused)) and len(chunk) > 1:
                    return None
            except Retryable as error:
                conflicts += 1
                locked = frozenset(self._statistics.concerned)
                self._on_retry(error)
                if conflicts >= _ATTEMPTS:
                    raise
                if conflicts >= _SPLIT_AFTER and len(chunk) > 1:
                    return None
                wait_s = self._random.uniform(0, _LONGEST_WAIT_S / 2 ** (_ATTEMPTS - conflicts))
            else:
                await self._keep_alive()
                return counting
            await self._clock.sleep(wait_s)
            await self._keep_alive()

    async def _recover(self, gone: Mapping[ObjectId, str], *, live: bool) -> None:
        """Have lost records folded again; whatever comes of it is counted."""
        if self._refold is not None:
            log.warning("counts_records_lost", streams=len(gone))
            await self._refold.restore(gone.values())
        self._accepted = frozenset(gone)
        try:
            await self._count_chunk(DirtyKeys(learners=self._accepted), live=live)
        finally:
            self._accepted = frozenset()

    async def _transact(self, chunk: DirtyKeys, locked: Set[Target], session: Session) -> Counting:
        """One transaction.

        0. lock what others wrote to meanwhile  1. read records and projections  2. take each learner's step
        3. write projections, each in place of the revision that was read  4. add to the statistics  5. write
        outbox and billing rows by their keys, or quarantine them  6. quarantine the learners that were left out
        """
        rejections, allowance = self._rejections(), Allowance(bounded=len(chunk) > 1)
        await self._statistics.lock(locked - rejections.keys(), session)  # 0
        records = await self._read("user_progress", chunk.learners, RECORD, allowance, session)  # 1
        known = await self._read("user_progress_projections", chunk.learners, COUNTED, allowance, session)
        counting = take_steps(records, known, rejections, self._lost(records, known))  # 2
        await self._write_projections(counting.steps, session)  # 3
        rebuild: set[Target] = {("course", each) for each in chunk.courses}
        rebuild |= {("user", each) for each in chunk.users}
        deltas = deltas_of(counting.steps).beside(locked - rejections.keys())
        excluded = await self._statistics.apply(
            deltas, rebuild, rejections, allowance, session, retrying=self._retrying
        )  # 4
        rows = await self._write_new_rows(counting, allowance, session)  # 5
        await self._quarantine_learners(chunk.learners, counting.rejected, session)  # 6
        return replace(
            counting, rejected={**counting.rejected, **excluded}, rows=rows, has_room=allowance.has_room
        )

    def _lost(self, records: Reading, known: Reading) -> dict[ObjectId, str]:
        gone = lost(records, known) if self._refold is not None else {}
        return {identity: stream for identity, stream in gone.items() if identity not in self._accepted}

    async def _write_projections(self, steps: Iterable[Step], session: Session) -> None:
        collection = self._database.user_progress_projections
        inserts: list[tuple[Target, Write]] = []
        replacements: list[tuple[Target, Write]] = []
        for step in steps:
            target: Target = ("learner", step.projection["_id"])
            if step.counted_rev is None:
                inserts.append((target, InsertOne(step.projection)))
            else:
                guard = {"_id": target[1], "source_rev": step.counted_rev}
                replacements.append((target, ReplaceOne(guard, step.projection)))
        await write_each(collection, inserts, session)
        replaced = await write_each(collection, replacements, session)
        if replaced is not None and replaced.matched_count != len(replacements):
            raise Retryable("a projection changed between reading and writing")

    async def _write_new_rows(
        self, counting: Counting, allowance: Allowance, session: Session
    ) -> RowsWritten:
        """The outbox and billing rows no earlier step has written."""
        if counting.read_at is None:
            return RowsWritten()
        rows = notifications(counting.steps, counting.read_at, self._notify_within)
        rows += await billing(self._database, counting.steps, allowance, session)
        return await write_rows(self._database, rows, self._rejected_rows(), self._code_version, session)

    async def _quarantine_learners(
        self, learners: Set[ObjectId], rejected: Rejections, session: Session
    ) -> None:
        """A learner left out is counted later, whether the record moves again or not."""
        behind = {target: why for target, why in rejected.items() if target not in self._retrying}
        await self._quarantine.put(behind, behind.keys(), session)
        quarantined: set[Target] = {("learner", each) for each in self._quarantined & learners}
        quarantined |= {("learner", each) for each in learners if ("learner", each) in self._retrying}
        await self._quarantine.release(quarantined - rejected.keys(), session)

    async def _read(
        self,
        collection: str,
        ids: frozenset[ObjectId],
        paths: Mapping[str, Any],
        allowance: Allowance,
        session: Session,
    ) -> Reading:
        if not ids:
            return Reading(collection)
        query = {"_id": {"$in": list(ids)}}
        return await allowance.find(
            self._database.collection(collection), query, paths, session, asked=len(ids)
        )

    def _cool_down_target(self, error: RejectedWrite | Refused, chunk: DirtyKeys) -> None:
        """Leave a document alone for a while. Where nobody says which it is, the last one of a chunk is to blame."""
        if isinstance(error, Refused):
            if len(chunk) > 1:
                return
            target: Target | RowTarget = next(chunk.targets())
            reason = Reason("Refused", str(error))
        else:
            target, reason = error.target, error.reason
        if target in self._cooling:
            raise Retryable(f"it stands in the way though it is left out: {reason.message}") from error
        self._cooling[target] = (self._clock.monotonic() + _COOL_DOWN_S, reason)

    def _rejections(self) -> dict[Target, Reason]:
        now = self._clock.monotonic()
        self._cooling = {target: rest for target, rest in self._cooling.items() if rest[0] > now}
        return {
            (kind, identity): reason
            for (kind, identity), (_, reason) in self._cooling.items()
            if kind == "learner" or kind == "course" or kind == "user"
        }

    def _rejected_rows(self) -> dict[RowTarget, Reason]:
        return {
            (kind, identity): reason
            for (kind, identity), (_, reason) in self._cooling.items()
            if kind == "welcome" or kind == "completion" or kind == "payment"
        }

    def _log(self, rejected: Rejections, rows: Mapping[RowTarget, Reason]) -> None:
        """Remember what was left out, and say it once each."""
        self._rejected.update((target, why) for target, why in rejected.items() if target in self._retrying)
        self._quarantined |= {identity for kind, identity in rejected if kind == "learner"}
        excluded: dict[Target | RowTarget, Reason] = dict([*rejected.items(), *rows.items()])
        for (kind, identity), reason in excluded.items() - self._logged.items():
            log.warning(
                "counts_quarantined",
                kind=kind,
                id=str(identity),
                error_class=reason.error_class,
                reason=reason.message,
            )
        self._logged = {**(self._logged if len(self._logged) < _MOST_LOGGED else {}), **excluded}

    def _observe(self, counting: Counting, *, live: bool) -> None:
        applied = self._metrics.projection_events_applied_total
        applied.labels(NAME, Mode.LIVE, Applied.APPLIED).inc(len(counting.steps))
        applied.labels(NAME, Mode.LIVE, Applied.STALE).inc(counting.stale)
        applied.labels(NAME, Mode.LIVE, Applied.FAILED).inc(counting.failed)
        for kind in counting.rows.suppressed:
            self._metrics.notifications_total.labels(kind, NotificationOutcome.SUPPRESSED).inc()
        self._log(counting.rejected, counting.rows.quarantined)
        if not live:
            return
        now, freshness = self._clock.now(), self._metrics.projection_freshness_seconds.labels(NAME)
        for step in counting.steps:
            freshness.observe(max(0.0, (now - step.projection["last_updated"]).total_seconds()))


def _split(ids: frozenset[ObjectId]) -> tuple[frozenset[ObjectId], frozenset[ObjectId]]:
    ordered = sorted(ids)
    middle = len(ordered) // 2
    return frozenset(ordered[:middle]), frozenset(ordered[middle:])
