"""A whole platform from a seed: every event it publishes, in its order, and every document that must follow.

Pure: the same seed, courses and people give the same bytes. Courses are written and accounts opened before the term;
in the term prices change, people pay, and courses go on. What `platform_documents` calls late is published when the
learners' events have been, and what it calls never is not published at all.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from worker.contract.codec import encode, record_key
from worker.contract.family import Inlet
from worker.contract.rejection import RejectReason
from worker.contract.routes import Topics
from worker.devstack.simulator.ledger import Course, Enrolment, ExpectedDocument, Paid
from worker.devstack.simulator.lives.accounts import Person, live_account
from worker.devstack.simulator.lives.content import ContentPlan, live_content
from worker.devstack.simulator.lives.courses import CoursePlan, SocialProof, live_course
from worker.devstack.simulator.lives.money import MoneyLife, live_payments, live_promotions
from worker.devstack.simulator.lives.writer import PlatformEvent, Writer, written
from worker.devstack.simulator.planner import make_courses, object_id, seeded
from worker.devstack.simulator.platform_documents import (
    Timing,
    instructors_of,
    timing_of_course,
    timing_of_instructor,
    timing_of_learner,
)
from worker.kafka.files import OutgoingRecord

DUPLICATE_SHARE = 0.02
CONFLICT_SHARE = 0.001
MOST_SECONDS_TO_REPEAT = 7_200

# Of people who are nobody's learners: their numbers put their accounts behind all others.
_NAMESAKE, _LEAVER, _ASPIRANT = 39, 13, 16
_DRAFT = 19  # the number of a course that is written after all others, and never gets further

Outcome = str
"""`ok`, `duplicate`, `conflict`, or why the record becomes a dead letter."""
OK, DUPLICATE, CONFLICT = "ok", "duplicate", "conflict"


@dataclass(frozen=True, slots=True)
class PlatformRecord:
    """One record of the platform's, and what must become of it. `afterwards`: behind all that learners do."""

    value: bytes
    inlet: Inlet
    published_at: datetime
    outcome: Outcome
    afterwards: bool = False

    def outgoing(self, topics: Topics) -> OutgoingRecord:
        """As it is published, to the topic of its inlet."""
        return OutgoingRecord(self.value, record_key(self.value), topic=topics.of(self.inlet))


@dataclass(frozen=True, slots=True)
class Platform:
    """`records` in the order of publishing, `documents` as they must be in the end.

    `stamps` are by course and lesson what learners' events are stamped with, of courses that are there in time;
    `time_zones` by learner, of accounts that are; `paid` what was paid for courses.
    """

    term: datetime
    records: tuple[PlatformRecord, ...] = ()
    documents: tuple[ExpectedDocument, ...] = ()
    stamps: Mapping[str, Mapping[str | None, Mapping[str, Any]]] | None = None
    time_zones: Mapping[str, str] | None = None
    paid: tuple[Paid, ...] = ()

    def before_term(self) -> list[PlatformRecord]:
        """What is published before learners begin."""
        return [each for each in self.records if not each.afterwards and each.published_at < self.term]

    def in_term(self) -> list[PlatformRecord]:
        """What is published while learners are at it."""
        return [each for each in self.records if not each.afterwards and each.published_at >= self.term]

    def after_term(self) -> list[PlatformRecord]:
        """What is published when learners have done all they do."""
        return [each for each in self.records if each.afterwards]

    def expected(self, *collections: str) -> list[ExpectedDocument]:
        """The documents of these collections."""
        return [each for each in self.documents if each.collection in collections]


def some_platform(seed: int, term: datetime, people: int = 20) -> Platform:
    """A platform of its own: eight courses and so many accounts, before anybody learns."""
    random = seeded(seed, "platform")
    courses = make_courses(random)
    return live_platform(seed, term, courses, [object_id(random) for _ in range(people)])


def live_platform(
    seed: int,
    term: datetime,
    courses: Sequence[Course],
    learner_ids: Iterable[str],
    *,
    payments: MoneyLife | None = None,
    proofs: Mapping[str, SocialProof] | None = None,
) -> Platform:
    """The platform of these courses and people.

    `payments` are what becomes of enrolments (`payments_of`). `proofs` say what courses show of their instructors;
    without them nothing is expected of that.

    1. accounts  2. courses, and what they are made of  3. money  4. repeats, contradictions, and what is no event
    """
    people = _people(seed, term, courses, list(dict.fromkeys(learner_ids)))
    lives = [live_account(each, seeded(seed, f"account:{each.user_id}")) for each in people]  # 1
    events = [event for written_, _ in lives for event in written_]
    documents = [document for _, document in lives]
    stamps: dict[str, Mapping[str | None, Mapping[str, Any]]] = {}
    for plan in _course_plans(seed, term, courses, proofs):  # 2
        life = live_course(plan, seeded(seed, f"course:{plan.course.course_id}"))
        events += life.events
        documents += life.documents
        if not plan.draft:
            content = _content_plan(plan, life.modules, life.workflow_at)
            more_events, more = live_content(content, seeded(seed, f"content:{plan.course.course_id}"))
            events += more_events
            documents += more
        if not plan.afterwards:
            stamps[plan.course.course_id] = life.stamps
    promotions = live_promotions(_shown(courses), term, seeded(seed, "promotions"))  # 3
    for money in (promotions, payments or MoneyLife((), (), ())):
        events += money.events
        documents += money.documents
    return Platform(
        term=term,
        records=tuple(_records(seed, term, events)),  # 4
        documents=tuple(documents),
        stamps=stamps,
        time_zones={each.user_id: each.time_zone for each in people if not each.afterwards},
        paid=tuple(payments.paid) if payments is not None else (),
    )


def payments_of(seed: int, enrolments: Iterable[Enrolment]) -> MoneyLife:
    """What becomes of the payments of these enrolments."""
    return live_payments(enrolments, seeded(seed, "payments"))


def _people(seed: int, term: datetime, courses: Sequence[Course], learner_ids: Sequence[str]) -> list[Person]:
    """Learners, instructors, and three more: a namesake, one who leaves, and one who begins to write a course."""
    people: list[Person] = []
    for number, user_id in enumerate(learner_ids):
        timing = timing_of_learner(number)
        if timing is not Timing.NEVER:
            late = timing is Timing.AFTER
            people.append(Person(user_id, number, "student", term, afterwards=late))
    namesake_of = next((each for each in people if not each.afterwards and each.number % 6 != 5), None)
    for user_id, number in instructors_of(courses).items():
        timing = timing_of_instructor(number)
        if timing is not Timing.NEVER:
            late = timing is Timing.AFTER
            people.append(Person(user_id, number, "instructor", term, afterwards=late))
    namesake, leaver, aspirant = _further_ids(seed)
    username = None if namesake_of is None else namesake_of.own_username
    return [
        *people,
        Person(namesake, _NAMESAKE, "student", term, username=username),
        Person(leaver, _LEAVER, "student", term, leaves=True),
        Person(aspirant, _ASPIRANT, "instructor", term),
    ]


def _further_ids(seed: int) -> tuple[str, str, str]:
    random = seeded(seed, "further people")
    return object_id(random), object_id(random), object_id(random)


def _shown(courses: Sequence[Course]) -> list[Course]:
    return [each for each in courses if timing_of_course(each) is not Timing.NEVER]


def _course_plans(
    seed: int, term: datetime, courses: Sequence[Course], proofs: Mapping[str, SocialProof] | None
) -> Iterator[CoursePlan]:
    """Those that are ever written, and a draft that asks for the slug of the first of them."""
    first: CoursePlan | None = None
    for course in _shown(courses):
        proof = None if proofs is None else proofs[course.instructor_id]
        late = timing_of_course(course) is Timing.AFTER
        plan = CoursePlan(course, term, proof, afterwards=late)
        if first is None and not late:
            first = plan
        yield plan
    draft = Course(object_id(seeded(seed, "draft")), (), _DRAFT, _further_ids(seed)[2])
    own = CoursePlan(draft, term, None if proofs is None else SocialProof(courses=1), draft=True)
    yield own if first is None else replace(own, slug=first.own_slug)


def _content_plan(
    plan: CoursePlan, modules: Mapping[str, Sequence[str]], reviewed_at: datetime
) -> ContentPlan:
    begins_at = reviewed_at - timedelta(days=4)
    return ContentPlan(plan.course, modules, begins_at, reviewed_at, afterwards=plan.afterwards)


def _records(seed: int, term: datetime, events: Sequence[PlatformEvent]) -> list[PlatformRecord]:
    """All records in the order of publishing: events, some of them twice, some contradicted, and what is no event."""
    random = seeded(seed, "platform repeats")
    records = [_record(each, OK) for each in events]
    records += _repeats(random, events)
    records += [_record(event, reason) for event, reason in _no_events(random, term)]
    return sorted(records, key=lambda one: (one.afterwards, one.published_at))


def _record(event: PlatformEvent, outcome: Outcome) -> PlatformRecord:
    return PlatformRecord(encode(event.fields), event.inlet, event.published_at, outcome, event.afterwards)


def _repeats(random: Random, events: Sequence[PlatformEvent]) -> Iterator[PlatformRecord]:
    """Behind their originals; a contradiction claims that it happened earlier."""
    duplicates = min(len(events), max(1, round(len(events) * DUPLICATE_SHARE)))
    conflicts = min(len(events) - duplicates, max(1, round(len(events) * CONFLICT_SHARE)))
    for number, original in enumerate(random.sample(list(events), duplicates + conflicts)):
        delay = timedelta(seconds=random.uniform(1, MOST_SECONDS_TO_REPEAT))
        again = replace(original, published_at=original.published_at + delay)
        if number < duplicates:
            yield _record(again, DUPLICATE)
            continue
        moved = datetime.fromisoformat(original.fields["occurred_at"]) - timedelta(
            minutes=random.randint(1, 600)
        )
        yield _record(replace(again, fields={**original.fields, "occurred_at": written(moved)}), CONFLICT)


def _no_events(random: Random, term: datetime) -> Iterator[tuple[PlatformEvent, Outcome]]:
    """What services get wrong: a password in an account, a price above the one before, an instalment too many."""
    nobody, nothing = object_id(random), object_id(random)
    writer = Writer(random, "a service", term - timedelta(days=30))
    writer.say(
        "user_registered",
        {"user_id": nobody},
        {"email": f"{nobody}@example.org", "username": nobody, "password": "secret"},
    )
    price = {"amount": "20.00", "currency": "EUR", "original_price": "10.00"}
    writer.say("course_priced", {"course_id": nothing}, {"pricing": {"price": price}})
    instalment = {"transaction_id": "by-nobody", "number": 4, "of": 3, "amount": "5.00", "currency": "EUR"}
    writer.say("instalment_paid", {"user_id": nobody, "course_id": nothing}, instalment)
    reasons = (RejectReason.FORBIDDEN_FIELD, RejectReason.INVALID_FIELD, RejectReason.INVALID_FIELD)
    yield from zip(writer.events, map(str, reasons), strict=True)
