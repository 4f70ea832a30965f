"""Counting: woken learners, courses and users in; out come statistics that equal the sum over projections."""

import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

import structlog
from bson import ObjectId
from pymongo import InsertOne, ReplaceOne

from projections.counts import Step, count_learner
from worker.errors import Retryable
from worker.storage.database import Collection, Database, Document
from worker.storage.errors import translated
from worker.storage.transactions import Session, Transactions
from worker.telemetry.metrics import Applied, Metrics, Mode, NotificationOutcome
from worker.timing import Clock
from worker.watch.counts_markers import Markers
from worker.watch.counts_plan import Kind, Target, moves_of
from worker.watch.counts_rows import write_billing, write_notifications
from worker.watch.counts_statistics import Statistics
from worker.watch.counts_writing import Unwritable, Write, write_each

log = structlog.get_logger(__name__)

NAME = "counts"

# Larger transactions are hardly faster, and hold the documents of courses and users longer.
_LEARNERS_PER_TRANSACTION = 1_500
# Each of these is summed over all its projections.
_COURSES_PER_TRANSACTION = 20
_USERS_PER_TRANSACTION = 500
# Somebody else's writes to a few documents pass at once. A piece that goes on conflicting is halved.
_ATTEMPTS = 5
_HALVED_AFTER = 2
_LONGEST_WAIT_S = 0.5
# How long a document the server refused is left alone while its learners go on moving.
_REST_S = 600.0
# Such documents are tried again, some at a time: a validator that refuses all must not take all the time.
_TRY_AGAIN_EVERY_S = 10.0
_TRIED_AGAIN = 50

_KINDS: tuple[Kind, ...] = ("learner", "course", "user")

# What `count_learner` reads, and the server's time of the reading. All of `state` but a number stays on the server.
_RECORD_PATHS: Mapping[str, Any] = dict.fromkeys(
    (
        "rev",
        "stream_id",
        "user_id",
        "course_id",
        "version",
        "recorded_at",
        "status",
        "progress",
        "time_tracking.total_seconds",
        "time_tracking.last_activity",
        "social",
        "rating",
        "certificates._id",
        "milestones",
        "enrollment_date",
        "created_at",
        "projection_version",
        "state.payments_named",
    ),
    1,
) | {"read_at": "$$NOW"}
_PROJECTION_PATHS: Mapping[str, Any] = dict.fromkeys(
    ("source_rev", "last_event_version", "counts_version", "counted", "enrolled_at", "emitted", "payments"), 1
)


@dataclass(frozen=True, slots=True)
class Woken:
    """Learners (`_id` of their record) whose record moved; courses and users to sum anew."""

    learners: frozenset[ObjectId] = frozenset()
    courses: frozenset[ObjectId] = frozenset()
    users: frozenset[ObjectId] = frozenset()

    def __len__(self) -> int:
        return len(self.learners) + len(self.courses) + len(self.users)

    def pieces(self) -> Iterator["Woken"]:
        """Parts that fit into one transaction each."""
        for learners in _chunks(self.learners, _LEARNERS_PER_TRANSACTION):
            yield Woken(learners=learners)
        for courses in _chunks(self.courses, _COURSES_PER_TRANSACTION):
            yield Woken(courses=courses)
        for users in _chunks(self.users, _USERS_PER_TRANSACTION):
            yield Woken(users=users)

    def halves(self) -> tuple["Woken", "Woken"]:
        halves = [_halves(each) for each in (self.learners, self.courses, self.users)]
        return Woken(*(half[0] for half in halves)), Woken(*(half[1] for half in halves))


@dataclass(frozen=True, slots=True)
class Counting:
    """What one transaction found: steps taken, records counted before, records no fold wrote.

    `read_at` is the server's time of the reading. `suppressed` are the kinds of the notifications it made that are
    not to be sent.
    """

    steps: list[Step] = field(default_factory=list)
    stale: int = 0
    failed: int = 0
    read_at: datetime | None = None
    suppressed: Sequence[str] = ()


class Counter:
    """Counts learners and sums statistics; safe beside any number of others like it.

    `breathe` is awaited after every transaction, some tenths of a second: to beat, to renew leases. A milestone older
    than `notify_within` when it is counted is not announced.
    """

    def __init__(
        self,
        database: Database,
        transactions: Transactions,
        clock: Clock,
        metrics: Metrics,
        *,
        breathe: Callable[[], Awaitable[None]],
        on_retry: Callable[[Retryable], None],
        notify_within: timedelta,
        seed: int | None = None,
    ) -> None:
        self._database = database
        self._transactions = transactions
        self._clock = clock
        self._metrics = metrics
        self._breathe = breathe
        self._on_retry = on_retry
        self._notify_within = notify_within
        self._random = random.Random(seed)  # noqa: S311  # jitter, not a secret
        self._statistics = Statistics(database)
        self._markers = Markers(database.watch_positions)
        self._resting: dict[Target, float] = {}
        self._trying: frozenset[ObjectId] = frozenset()
        self._tried: Target | None = None
        self._try_again_at = clock.monotonic()

    async def count(self, woken: Woken, *, live: bool = True) -> None:
        """Return when every woken learner is counted and every woken course and user is summed anew.

        May run twice, at the same time, anywhere: a projection changes only from the revision that was read,
        together with everything that follows from it. `live`: the learners have just moved, so that their
        freshness means something. What the server refused earlier is tried again from time to time, and nobody
        waits for it.
        """
        for piece in woken.pieces():
            await self._settle(piece, live=live)
        if self._clock.monotonic() >= self._try_again_at:
            await self._try_again()

    async def _try_again(self) -> None:
        """Count the next ones that were refused; where none was refused again, go on with the next call."""
        some = await self._markers.refused_after(self._tried, _TRIED_AGAIN)
        self._tried = some[-1] if len(some) == _TRIED_AGAIN else None
        for target in some:
            self._resting.pop(target, None)
        chosen = {kind: frozenset(each for one, each in some if one == kind) for kind in _KINDS}
        self._trying = chosen["learner"]
        for piece in Woken(chosen["learner"], chosen["course"], chosen["user"]).pieces():
            await self._settle(piece, live=False)
        self._trying = frozenset()
        if not some or any(target in self._resting for target in some):
            self._try_again_at = self._clock.monotonic() + _TRY_AGAIN_EVERY_S

    async def _settle(self, piece: Woken, *, live: bool) -> None:
        """Run one transaction until it commits. A piece that goes on conflicting, or being refused, is halved.

        After a conflict the documents of courses and users are held from the first command on.
        """
        conflicts = refusals = 0
        held: frozenset[Target] = frozenset()
        while True:
            try:
                counting = await self._transactions.run(partial(self._transact, piece, held))
                break
            except Unwritable as refused:
                self._rest(refused)
                refusals += 1
                if refusals >= _HALVED_AFTER and len(piece) > 1:
                    await self._settle_halves(piece, live=live)
                    return
            except Retryable as error:
                conflicts += 1
                held = frozenset(self._statistics.concerned)
                self._on_retry(error)
                if conflicts >= _ATTEMPTS:
                    raise
                if conflicts >= _HALVED_AFTER and len(piece) > 1:
                    await self._settle_halves(piece, live=live)
                    return
                await self._clock.sleep(
                    self._random.uniform(0, _LONGEST_WAIT_S / 2 ** (_ATTEMPTS - conflicts))
                )
            await self._breathe()
        self._count(counting, live=live)
        await self._breathe()

    async def _settle_halves(self, piece: Woken, *, live: bool) -> None:
        await self._breathe()
        for half in piece.halves():
            await self._settle(half, live=live)

    async def _transact(self, piece: Woken, held: Set[Target], session: Session) -> Counting:
        """One transaction.

        0. hold what others wrote to meanwhile  1. read records and projections  2. take each learner's step
        3. write projections, each in place of the revision that was read  4. settle the statistics  5. write
        outbox and billing rows by their keys  6. remember whose writes were refused
        """
        unwritable = self._unwritable()
        await self._statistics.hold(held - unwritable, session)  # 0
        records = await self._read(self._database.user_progress, piece.learners, _RECORD_PATHS, session)  # 1
        known = await self._read(
            self._database.user_progress_projections, piece.learners, _PROJECTION_PATHS, session
        )
        counting = _take_steps(records, known, unwritable)  # 2
        await self._write_projections(counting.steps, session)  # 3
        anew: set[Target] = {("course", each) for each in piece.courses}
        anew |= {("user", each) for each in piece.users}
        moves = moves_of(counting.steps).beside(held - unwritable)
        await self._statistics.settle(moves, anew, unwritable, session)  # 4
        suppressed = await self._write_rows(counting, session)  # 5
        await self._remember_refused(piece.learners, records.keys(), unwritable, session)  # 6
        return replace(counting, suppressed=suppressed)

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

    async def _write_rows(self, counting: Counting, session: Session) -> Sequence[str]:
        """The outbox and billing rows no earlier step has written; kinds of notifications not to be sent."""
        if counting.read_at is None:
            return ()
        suppressed = await write_notifications(
            self._database, counting.steps, counting.read_at, self._notify_within, session
        )
        await write_billing(self._database, counting.steps, session)
        return suppressed

    async def _remember_refused(
        self, learners: Set[ObjectId], found: Set[ObjectId], unwritable: Set[Target], session: Session
    ) -> None:
        """A learner left out is counted later, whether the record moves again or not."""
        barred = {each for each in found if ("learner", each) in unwritable}
        behind: list[Target] = [("learner", each) for each in barred - self._trying]
        caught_up: list[Target] = [("learner", each) for each in (self._trying & learners) - barred]
        await self._markers.mark_refused(behind, caught_up, session)

    async def _read(
        self, collection: Collection, ids: frozenset[ObjectId], paths: Mapping[str, Any], session: Session
    ) -> dict[ObjectId, Document]:
        if not ids:
            return {}
        with translated():
            found = await collection.find({"_id": {"$in": list(ids)}}, paths, session=session).to_list(None)
        return {document["_id"]: document for document in found}

    def _rest(self, refused: Unwritable) -> None:
        """Leave a document alone for a while; it is marked as behind, and caught up."""
        kind, identity = refused.target
        self._resting[refused.target] = self._clock.monotonic() + _REST_S
        log.warning("counts_refused", kind=kind, id=str(identity), reason=str(refused))

    def _unwritable(self) -> set[Target]:
        now = self._clock.monotonic()
        self._resting = {target: until for target, until in self._resting.items() if until > now}
        return set(self._resting)

    def _count(self, counting: Counting, *, live: bool) -> None:
        applied = self._metrics.projection_events_applied_total
        applied.labels(NAME, Mode.LIVE, Applied.APPLIED).inc(len(counting.steps))
        applied.labels(NAME, Mode.LIVE, Applied.STALE).inc(counting.stale)
        applied.labels(NAME, Mode.LIVE, Applied.FAILED).inc(counting.failed)
        for kind in counting.suppressed:
            self._metrics.notifications_total.labels(kind, NotificationOutcome.SUPPRESSED).inc()
        if not live:
            return
        now, freshness = self._clock.now(), self._metrics.projection_freshness_seconds.labels(NAME)
        for step in counting.steps:
            freshness.observe(max(0.0, (now - step.projection["last_updated"]).total_seconds()))


def _take_steps(
    records: Mapping[ObjectId, Document], known: Mapping[ObjectId, Document], unwritable: set[Target]
) -> Counting:
    """Each learner's step; a record no fold wrote concerns this learner only."""
    steps, stale, failed = [], 0, 0
    for identity, record in records.items():
        if ("learner", identity) in unwritable:
            failed += 1
            continue
        try:
            step = count_learner(record, known.get(identity))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            failed += 1
            log.warning("counts_unreadable_record", id=str(identity), error_class=type(error).__name__)
            continue
        if step is None:
            stale += 1
        else:
            steps.append(step)
    read_at = max((record["read_at"] for record in records.values()), default=None)
    return Counting(steps, stale=stale, failed=failed, read_at=read_at)


def _chunks(ids: Iterable[ObjectId], size: int) -> Iterator[frozenset[ObjectId]]:
    remaining = iter(ids)
    while chunk := frozenset(islice(remaining, size)):
        yield chunk


def _halves(ids: frozenset[ObjectId]) -> tuple[frozenset[ObjectId], frozenset[ObjectId]]:
    ordered = sorted(ids)
    middle = len(ordered) // 2
    return frozenset(ordered[:middle]), frozenset(ordered[middle:])
