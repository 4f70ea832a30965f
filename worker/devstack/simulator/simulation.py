"""Simulated learners: a ledger first, then the records that must lead to it; one seed, the same bytes.

Sessions, lessons in their order, quizzes and drop-outs; some sessions happen offline and arrive hours or days
late; some records are published twice; a few event ids come back with other content.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from worker.contract.codec import encode, record_key
from worker.devstack.simulator.ledger import LedgerEntry, expected
from worker.devstack.simulator.planner import make_plans, seeded
from worker.devstack.simulator.platform_documents import (
    PlatformDocument,
    Timing,
    courses_shown,
    platform_documents,
)
from worker.devstack.simulator.script import Draft, draft_events
from worker.devstack.simulator.totals import Totals, totals
from worker.kafka.files import OutgoingRecord

TERM_START = datetime(2025, 9, 1, 8, tzinfo=UTC)  # fixed: the same seed gives the same bytes on any day
TERM_DAYS = 7  # learners enrol within this time; a shorter one interleaves them more
DUPLICATE_SHARE = 0.02
CONFLICT_SHARE = 0.001
MOST_SECONDS_TO_REPEAT = 7_200  # a producer repeats what it believes lost within two hours


@dataclass(frozen=True, slots=True)
class Simulation:
    """`records` in the order of publishing: `unique` events, `duplicates` of some, `conflicts` with some.

    `platform` are the documents of courses and people, which the platform writes before or after the events.
    """

    seed: int
    ledger: tuple[LedgerEntry, ...]
    totals: Totals
    platform: tuple[PlatformDocument, ...]
    records: tuple[OutgoingRecord, ...]
    unique: int
    duplicates: int
    conflicts: int

    def documents(self, *timings: Timing) -> list[PlatformDocument]:
        """The platform's documents that are written then."""
        return [each for each in self.platform if each.timing in timings]


@dataclass(frozen=True, slots=True)
class _Scheduled:
    """A record and when it is published; `order` breaks ties and keeps a repeat behind its original."""

    at: datetime
    order: int
    fields: Mapping[str, Any]


def simulate(seed: int, records: int = 20_000) -> Simulation:
    """Exactly `records` records (at least 1).

    1 plans  2 their ledger  3 events  4 repeats and contradictions  5 in order of publishing
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
    for plan in plans:
        random = seeded(seed, f"learner:{plan.index}")
        start = TERM_START + timedelta(seconds=random.randrange(TERM_DAYS * 86_400))
        for draft in draft_events(plan, random, start):
            events.append(_Scheduled(draft.published_at, len(events), _fields(draft, random)))
    # 4 repeats and contradictions
    repeats = list(_repeats(seeded(seed, "repeats"), events, duplicates, conflicts))
    # 5 in order
    published = sorted([*events, *repeats], key=lambda one: (one.at, one.order))
    return Simulation(
        seed=seed,
        ledger=ledger,
        totals=totals(ledger, courses_shown(courses)),
        platform=tuple(platform_documents(courses, [entry.user_id for entry in ledger])),
        records=tuple(_record(one.fields) for one in published),
        unique=unique,
        duplicates=duplicates,
        conflicts=conflicts,
    )


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
