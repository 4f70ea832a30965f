"""Counting: woken learners, courses and users in; out come statistics that equal the sum over projections."""

import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import structlog
from bson import ObjectId
from pymongo import InsertOne, ReplaceOne, UpdateOne

from projections.counts import Step, count_learner
from worker.errors import Retryable
from worker.storage.billing import billing_upsert
from worker.storage.database import Collection, Database, Document
from worker.storage.errors import translated
from worker.storage.outbox import notification_row
from worker.storage.transactions import Session, Transactions
from worker.telemetry.metrics import Applied, Metrics, Mode
from worker.timing import Clock
from worker.watch.counts_markers import Markers
from worker.watch.counts_plan import Kind, Target, moves_of
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

# What `count_learner` reads. `state` holds the payments; the rest of it stays on the server.
_RECORD_PATHS = dict.fromkeys(
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
        "state.payments",
    ),
    1,
)
_PROJECTION_PATHS = dict.fromkeys(
    ("source_rev", "last_event_version", "counts_version", "counted", "enrolled_at", "emitted"), 1
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
    """What one transaction found: steps taken, records counted before, records no fold wrote."""

    steps: list[Step] = field(default_factory=list)
    stale: int = 0
    failed: int = 0


class Counter:
    """Counts learners and sums statistics; safe beside any number of others like it.

    `breathe` is awaited after every transaction, some tenths of a second: to beat, to renew leases.
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
        seed: int | None = None,
    ) -> None:
        self._database = database
        self._transactions = transactions
        self._clock = clock
        self._metrics = metrics
        self._breathe = breathe
        self._on_retry = on_retry
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
        await self._write_rows(counting.steps, session)  # 5
        await self._remember_refused(piece.learners, records.keys(), unwritable, session)  # 6
        return counting

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
        if await write_each(collection, replacements, session) != len(replacements):
            raise Retryable("a projection changed between reading and writing")

    async def _write_rows(self, steps: Iterable[Step], session: Session) -> None:
        """The outbox and billing rows no earlier step has written."""
        now = self._clock.now()
        outbox: list[tuple[Target, Write]] = []
        billing: list[tuple[Target, Write]] = []
        for step in steps:
            learner = step.projection
            target: Target = ("learner", learner["_id"])
            who = (learner["stream_id"], learner["user_id"], learner["course_id"])
            for reached in step.milestones:
                data = {"percentage": reached.percentage, "reached_at": reached.at}
                row = notification_row(reached.kind, *who, by=reached.by, data=data, now=now)
                outbox.append((target, UpdateOne({"_id": row["_id"]}, {"$setOnInsert": row}, upsert=True)))
            billing += [(target, billing_upsert(*who[1:], payment)) for payment in step.payments]
        await write_each(self._database.notifications, outbox, session)
        await write_each(self._database.billing_transactions, billing, session)

    async def _remember_refused(
        self, learners: Set[ObjectId], found: Set[ObjectId], unwritable: Set[Target], session: Session
    ) -> None:
        """A learner left out is counted later, whether the record moves again or not."""
        barred = {each for each in found if ("learner", each) in unwritable}
        behind: list[Target] = [("learner", each) for each in barred - self._trying]
        caught_up: list[Target] = [("learner", each) for each in (self._trying & learners) - barred]
        await self._markers.mark_refused(behind, caught_up, session)

    async def _read(
        self, collection: Collection, ids: frozenset[ObjectId], paths: Mapping[str, int], session: Session
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
    return Counting(steps, stale=stale, failed=failed)


def _chunks(ids: Iterable[ObjectId], size: int) -> Iterator[frozenset[ObjectId]]:
    remaining = iter(ids)
    while chunk := frozenset(islice(remaining, size)):
        yield chunk


def _halves(ids: frozenset[ObjectId]) -> tuple[frozenset[ObjectId], frozenset[ObjectId]]:
    ordered = sorted(ids)
    middle = len(ordered) // 2
    return frozenset(ordered[:middle]), frozenset(ordered[middle:])
