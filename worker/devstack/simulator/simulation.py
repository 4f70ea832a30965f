"""Simulated learners: a ledger first, then the records that must lead to it; one seed, the same bytes.

Sessions, lessons in their order, quizzes and drop-outs; some sessions happen offline and arrive hours or days
late; some records are published twice; a few event ids come back with other content. The platform around them has
lives of its own (`lives`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import merge
from random import Random
from typing import Any

from worker.contract.codec import encode, record_key
from worker.contract.routes import Topics
from worker.devstack.simulator.ledger import Enrolment, LearnerPlan, LedgerEntry, expected
from worker.devstack.simulator.lives.courses import SocialProof
from worker.devstack.simulator.lives.platform import Platform, live_platform, payments_of
from worker.devstack.simulator.planner import make_plans, seeded
from worker.devstack.simulator.platform_documents import (
    PlatformDocument,
    Timing,
    courses_shown,
    platform_documents,
)
from worker.devstack.simulator.script import Draft, draft_events
from worker.devstack.simulator.totals import InstructorTotal, Totals, totals
from worker.kafka.files import OutgoingRecord

TERM_START = datetime(2025, 9, 1, 8, tzinfo=UTC)  # fixed: the same seed gives the same bytes on any day
TERM_DAYS = 7  # learners enrol within this time; a shorter one interleaves them more
DUPLICATE_SHARE = 0.02
CONFLICT_SHARE = 0.001
MOST_SECONDS_TO_REPEAT = 7_200  # a producer repeats what it believes lost within two hours


@dataclass(frozen=True, slots=True)
class Simulation:
    """`records` in the order of publishing: `unique` events, `duplicates` of some, `conflicts` with some.

    All of them are learners'; `times` say when each is published. `lives` is what the platform publishes beside them,
    by which the worker makes documents; `platform` has courses and people as a platform writes them that keeps them.
    """

    seed: int
    ledger: tuple[LedgerEntry, ...]
    totals: Totals
    platform: tuple[PlatformDocument, ...]
    lives: Platform
    records: tuple[OutgoingRecord, ...]
    times: tuple[datetime, ...]
    unique: int
    duplicates: int
    conflicts: int

    def in_term(self, topics: Topics | None = None) -> Iterator[OutgoingRecord]:
        """The learners' records in their order, and with `topics` among them what the platform says meanwhile."""
        meanwhile: list[tuple[datetime, OutgoingRecord]] = []
        if topics is not None:
            meanwhile = [(each.published_at, each.outgoing(topics)) for each in self.lives.in_term()]
        own = zip(self.times, self.records, strict=True)
        for _, record in merge(own, meanwhile, key=lambda each: each[0]):
            yield record

    def documents(self, *timings: Timing) -> list[PlatformDocument]:
        """The platform's documents that are written then."""
        return [each for each in self.platform if each.timing in timings]


@dataclass(frozen=True, slots=True)
class _Scheduled:
    """A record and when it is published; `order` breaks ties and keeps a repeat behind its original."""

    at: datetime
    order: int
    fields: Mapping[str, Any]


def simulate(seed: int, records: int = 20_000, *, lives: bool = True) -> Simulation:
    """Exactly `records` records of learners (at least 1). Without `lives` the platform publishes nothing beside them.

    1 plans  2 their ledger  3 events  4 repeats and contradictions  5 in order of publishing  6 the platform's lives
    """
    duplicates, conflicts = round(records * DUPLICATE_SHARE), round(records * CONFLICT_SHARE)
    unique = records - duplicates - conflicts
    # 1 plans
    plans = make_plans(seed, unique)
    # 2 ledger
    ledger = tuple(expected(plan) for plan in plans)
    courses = list({plan.course.course_id: plan.course for plan in plans}.values())
    # 3 events
    events: list[_Scheduled] = []
    enrolments: list[Enrolment] = []
    for plan in plans:
        random = seeded(seed, f"learner:{plan.index}")
        start = TERM_START + timedelta(seconds=random.randrange(TERM_DAYS * 86_400))
        first = len(events)
        for draft in draft_events(plan, random, start):
            events.append(_Scheduled(draft.published_at, len(events), _fields(draft, random)))
        enrolments.append(_enrolment(plan, events[first].fields))
    # 4 repeats and contradictions
    repeats = list(_repeats(seeded(seed, "repeats"), events, duplicates, conflicts))
    # 5 in order
    published = sorted([*events, *repeats], key=lambda one: (one.at, one.order))
    # 6 the platform's lives
    payments = payments_of(seed, enrolments) if lives else None
    added = totals(ledger, courses_shown(courses), payments.paid if payments else None)
    people = [entry.user_id for entry in ledger]
    proofs = {each.user_id: _proof(each) for each in added.instructors}
    return Simulation(
        seed=seed,
        ledger=ledger,
        totals=added,
        platform=tuple(platform_documents(courses, people)),
        lives=live_platform(seed, TERM_START, courses, people, payments=payments, proofs=proofs)
        if lives
        else Platform(TERM_START),
        records=tuple(_record(one.fields) for one in published),
        times=tuple(one.at for one in published),
        unique=unique,
        duplicates=duplicates,
        conflicts=conflicts,
    )


def _enrolment(plan: LearnerPlan, fields: Mapping[str, Any]) -> Enrolment:
    at = datetime.fromisoformat(fields["occurred_at"])
    return Enrolment(plan.index, plan.user_id, plan.course.course_id, at, fields["event_id"], plan.payment)


def _proof(total: InstructorTotal) -> SocialProof:
    return SocialProof(total.total_students, total.courses_created, total.rating_average / 100)


def _fields(draft: Draft, random: Random) -> dict[str, Any]:
    event_id = f"{random.getrandbits(128):032x}"
    parts = (event_id[:8], event_id[8:12], f"4{event_id[13:16]}", f"a{event_id[17:20]}", event_id[20:])
    return {"event_id": "-".join(parts), "occurred_at": _rfc_3339(draft.occurred_at), **draft.fields}


def _repeats(
    random: Random, events: list[_Scheduled], duplicates: int, conflicts: int
) -> Iterator[_Scheduled]:
    """Repeats follow their original by seconds to hours; a contradiction claims that it happened earlier."""
    for number, original in enumerate(random.sample(events, duplicates + conflicts)):
        fields = original.fields
        if number >= duplicates:
            moved = datetime.fromisoformat(fields["occurred_at"]) - timedelta(minutes=random.randint(1, 600))
            fields = {**fields, "occurred_at": _rfc_3339(moved)}
        delay = timedelta(seconds=random.uniform(1, MOST_SECONDS_TO_REPEAT))
        yield _Scheduled(original.at + delay, len(events) + number, fields)


def _record(fields: Mapping[str, Any]) -> OutgoingRecord:
    value = encode(fields)
    return OutgoingRecord(value, record_key(value))


def _rfc_3339(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")
