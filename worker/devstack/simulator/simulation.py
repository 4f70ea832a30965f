"""Simulated learners: a ledger first, then the records that must lead to it; one seed, the same bytes.

Sessions, lessons in their order, quizzes and drop-outs; some sessions happen offline and arrive hours or days
late; some records are published twice; a few event ids come back with other content. What the platform around them
publishes is in `lives`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import merge
from random import Random
from typing import Any

from worker.contract.routes import Topics
from worker.devstack.simulator.ledger import Enrolment, LearnerPlan, LedgerEntry, expected
from worker.devstack.simulator.lives.courses import SocialProof
from worker.devstack.simulator.lives.platform import Platform, payments_of, simulate_platform
from worker.devstack.simulator.planner import make_plans, seeded
from worker.devstack.simulator.platform_documents import (
    PlatformDocument,
    Timing,
    courses_shown,
    platform_documents,
)
from worker.devstack.simulator.repeats import CONFLICT_SHARE, DUPLICATE_SHARE, repeats
from worker.devstack.simulator.script import draft_events
from worker.devstack.simulator.spelling import fields_of, record_of
from worker.devstack.simulator.totals import InstructorTotal, Totals, totals
from worker.kafka.files import OutgoingRecord

TERM_START = datetime(2025, 9, 1, 8, tzinfo=UTC)  # fixed: the same seed gives the same bytes on any day
TERM_DAYS = 7  # learners enrol within this time; a shorter one interleaves them more


@dataclass(frozen=True, slots=True)
class Simulation:
    """`records` in the order of publishing: `unique` events, `duplicates` of some, `conflicts` with some.

    All of them are learners'; `times` say when each is published. `platform` is what the platform publishes beside
    them, by which the worker makes documents; `kept` are the documents of courses and people where the platform keeps
    these by itself.
    """

    seed: int
    ledger: tuple[LedgerEntry, ...]
    totals: Totals
    platform: Platform
    kept: tuple[PlatformDocument, ...]
    records: tuple[OutgoingRecord, ...]
    times: tuple[datetime, ...]
    unique: int
    duplicates: int
    conflicts: int

    def in_term(self, topics: Topics | None = None) -> Iterator[OutgoingRecord]:
        """The learners' records in their order, and with `topics` among them what the platform says meanwhile."""
        meanwhile: list[tuple[datetime, OutgoingRecord]] = []
        if topics is not None:
            meanwhile = [(each.published_at, each.outgoing(topics)) for each in self.platform.in_term()]
        own = zip(self.times, self.records, strict=True)
        for _, record in merge(own, meanwhile, key=lambda each: each[0]):
            yield record

    def documents(self, *timings: Timing) -> list[PlatformDocument]:
        """The documents that the platform keeps and writes then."""
        return [each for each in self.kept if each.timing in timings]


@dataclass(frozen=True, slots=True)
class _Scheduled:
    """A record and when it is published; `order` breaks ties and keeps a repeat behind its original."""

    at: datetime
    order: int
    fields: Mapping[str, Any]


def simulate(seed: int, records: int = 20_000, *, with_platform: bool = True) -> Simulation:
    """Exactly `records` records of learners (at least 1), and `with_platform` those that it publishes beside them.

    1 plans  2 their ledger  3 events  4 repeats and contradictions  5 in order of publishing  6 the platform
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
            events.append(_Scheduled(draft.published_at, len(events), fields_of(draft, random)))
        enrolments.append(_enrolment(plan, events[first].fields))
    # 4 repeats and contradictions
    published = [*events, *_repeated(seeded(seed, "repeats"), events, duplicates, conflicts)]
    # 5 in order
    published.sort(key=lambda one: (one.at, one.order))
    # 6 the platform
    payments = payments_of(seed, enrolments) if with_platform else None
    added = totals(ledger, courses_shown(courses), payments.paid if payments else None)
    people = [entry.user_id for entry in ledger]
    proofs = {each.user_id: _proof(each) for each in added.instructors}
    return Simulation(
        seed=seed,
        ledger=ledger,
        totals=added,
        platform=simulate_platform(seed, TERM_START, courses, people, payments=payments, proofs=proofs)
        if with_platform
        else Platform(TERM_START),
        kept=tuple(platform_documents(courses, people)),
        records=tuple(record_of(one.fields) for one in published),
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


def _repeated(
    random: Random, events: Sequence[_Scheduled], duplicates: int, conflicts: int
) -> Iterator[_Scheduled]:
    """What is published again, each behind its original."""
    fields = [event.fields for event in events]
    for number, repeat in enumerate(repeats(random, fields, duplicates, conflicts)):
        yield _Scheduled(events[repeat.place].at + repeat.delay, len(events) + number, repeat.fields)
