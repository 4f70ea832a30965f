"""A whole platform from a seed: every event it publishes, in its order, and every document that must follow.

Pure: the same seed, courses and people give the same bytes. Courses are written and accounts opened before the term;
in the term prices change, people pay, and courses go on. What has the timing `AFTER` in `platform_documents` is
published when the learners' events have been, and what has `NEVER` is not published at all.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from worker.contract.codec import encode, record_key
from worker.contract.family import Inlet
from worker.contract.rejection import RejectReason
from worker.contract.routes import Topics
from worker.devstack.simulator.ledger import CURRENCY, Course, Enrolment, ExpectedDocument
from worker.devstack.simulator.lives.accounts import Person, account_life
from worker.devstack.simulator.lives.content import ContentPlan, content_life
from worker.devstack.simulator.lives.courses import CoursePlan, SocialProof, course_life
from worker.devstack.simulator.lives.money import Payments, payment_lives, promotion_lives
from worker.devstack.simulator.lives.writer import EventWriter, Life, PlatformEvent
from worker.devstack.simulator.planner import object_id, seeded
from worker.devstack.simulator.platform_documents import (
    Timing,
    courses_shown,
    instructors_of,
    timing_of_course,
    timing_of_instructor,
    timing_of_learner,
)
from worker.devstack.simulator.repeats import CONFLICT_SHARE, DUPLICATE_SHARE, repeats
from worker.kafka.files import OutgoingRecord

# Three people who are nobody's learners, by the number that what they do turns with. The namesake's account is opened
# as late as any, 61 days before the term: who is asked for the name has it by then.
_NAMESAKE, _LEAVER, _ASPIRANT = 39, 13, 16
_DRAFT = 19  # the number of a course that is written after all others, and never gets further

OK, DUPLICATE, CONFLICT = "ok", "duplicate", "conflict"
"""What becomes of the record of an event."""


@dataclass(frozen=True, slots=True)
class PlatformRecord:
    """One record of the platform's, and what must become of it.

    The `outcome` is `OK`, `DUPLICATE`, `CONFLICT`, or why it becomes a dead letter. `after_term`: it comes behind all
    that learners do.
    """

    value: bytes
    inlet: Inlet
    published_at: datetime
    outcome: str
    after_term: bool = False

    def outgoing(self, topics: Topics) -> OutgoingRecord:
        """As it is published, to the topic of its inlet."""
        return OutgoingRecord(self.value, record_key(self.value), topic=topics.of(self.inlet))


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform with its `records` in the order of publishing, and its `documents` as they must be in the end.

    `stamps` are by course and lesson what learners' events are stamped with, of courses that are there in time;
    `time_zones` by learner, of accounts that are.
    """

    term: datetime
    records: tuple[PlatformRecord, ...] = ()
    documents: tuple[ExpectedDocument, ...] = ()
    stamps: Mapping[str, Mapping[str | None, Mapping[str, Any]]] = field(default_factory=dict)
    time_zones: Mapping[str, str] = field(default_factory=dict)

    def before_term(self) -> list[PlatformRecord]:
        """What is published before learners begin."""
        return [each for each in self.records if not each.after_term and each.published_at < self.term]

    def in_term(self) -> list[PlatformRecord]:
        """What is published while learners are at it."""
        return [each for each in self.records if not each.after_term and each.published_at >= self.term]

    def after_term(self) -> list[PlatformRecord]:
        """What is published when learners have done all they do."""
        return [each for each in self.records if each.after_term]

    def expected(self, *collections: str) -> list[ExpectedDocument]:
        """The documents of these collections."""
        return [each for each in self.documents if each.collection in collections]


def simulate_platform(
    seed: int,
    term: datetime,
    courses: Sequence[Course],
    learner_ids: Iterable[str],
    *,
    payments: Payments | None = None,
    proofs: Mapping[str, SocialProof] | None = None,
) -> Platform:
    """The platform of these courses and people.

    `payments` are what becomes of enrolments (`payments_of`). `proofs` say what courses show of their instructors;
    without them nothing is expected of that.

    1. accounts  2. courses, and what they are made of  3. money  4. repeats, contradictions, and what is no event
    """
    people = _people(seed, term, courses, list(dict.fromkeys(learner_ids)))
    lives = [account_life(each, seeded(seed, f"account:{each.user_id}")) for each in people]  # 1
    stamps: dict[str, Mapping[str | None, Mapping[str, Any]]] = {}
    for plan in _course_plans(seed, term, courses, proofs):  # 2
        course_id, after_term = plan.course.course_id, plan.after_term
        course = course_life(plan, seeded(seed, f"course:{course_id}"))
        lives.append(course.life)
        if not plan.draft:
            content = ContentPlan(plan.course, course.modules, course.reviewed_at, after_term)
            lives.append(content_life(content, seeded(seed, f"content:{course_id}")))
        if not after_term:
            stamps[course_id] = course.stamps
    lives.append(promotion_lives(courses_shown(courses), term, seeded(seed, "promotions")))  # 3
    if payments is not None:
        lives.append(payments.life)
    return Platform(
        term=term,
        records=tuple(_records(seed, term, _events(lives))),  # 4
        documents=tuple(document for life in lives for document in life.documents),
        stamps=stamps,
        time_zones={each.user_id: each.time_zone for each in people if not each.after_term},
    )


def payments_of(seed: int, enrolments: Iterable[Enrolment]) -> Payments:
    """What becomes of the payments of these enrolments."""
    return payment_lives(enrolments, seeded(seed, "payments"))


def _events(lives: Iterable[Life]) -> list[PlatformEvent]:
    return [event for life in lives for event in life.events]


def _people(seed: int, term: datetime, courses: Sequence[Course], learner_ids: Sequence[str]) -> list[Person]:
    """Learners, instructors, and three more: a namesake, one who leaves, and one who begins to write a course."""
    people: list[Person] = []
    for number, user_id in enumerate(learner_ids):
        timing = timing_of_learner(number)
        if timing is not Timing.NEVER:
            after_term = timing is Timing.AFTER
            people.append(Person(user_id, number, "student", term, after_term=after_term))
    # Somebody who is there in time, and keeps the name.
    namesake_of = next((each for each in people if not each.after_term and each.number % 6 != 5), None)
    for user_id, number in instructors_of(courses).items():
        timing = timing_of_instructor(number)
        if timing is not Timing.NEVER:
            after_term = timing is Timing.AFTER
            people.append(Person(user_id, number, "instructor", term, after_term=after_term))
    namesake, leaver, aspirant = _further_ids(seed)
    username = None if namesake_of is None else namesake_of.own_username
    return [
        *people,
        Person(namesake, _NAMESAKE, "student", term, taken_username=username),
        Person(leaver, _LEAVER, "student", term, leaves=True),
        Person(aspirant, _ASPIRANT, "instructor", term),
    ]


def _further_ids(seed: int) -> tuple[str, str, str]:
    random = seeded(seed, "further people")
    return object_id(random), object_id(random), object_id(random)


def _course_plans(
    seed: int, term: datetime, courses: Sequence[Course], proofs: Mapping[str, SocialProof] | None
) -> Iterator[CoursePlan]:
    """Those that are ever written, and a draft that asks for the slug of the first of them."""
    first: CoursePlan | None = None
    for course in courses_shown(courses):
        proof = None if proofs is None else proofs[course.instructor_id]
        plan = CoursePlan(course, term, proof, after_term=timing_of_course(course) is Timing.AFTER)
        if first is None and not plan.after_term:
            first = plan
        yield plan
    draft = Course(object_id(seeded(seed, "draft")), (), _DRAFT, _further_ids(seed)[2])
    own = CoursePlan(draft, term, None if proofs is None else SocialProof(courses=1), draft=True)
    yield own if first is None else replace(own, taken_slug=first.own_slug)


def _records(seed: int, term: datetime, events: Sequence[PlatformEvent]) -> list[PlatformRecord]:
    """All records in the order of publishing: events, some of them twice, some contradicted, and what is no event."""
    random = seeded(seed, "platform repeats")
    records = [_record(each, OK) for each in events]
    records += _repeated(random, events)
    records += [_record(event, reason) for event, reason in _mistakes(random, term)]
    return sorted(records, key=lambda each: (each.after_term, each.published_at))


def _record(event: PlatformEvent, outcome: str) -> PlatformRecord:
    return PlatformRecord(encode(event.fields), event.inlet, event.published_at, outcome, event.after_term)


def _repeated(random: Random, events: Sequence[PlatformEvent]) -> Iterator[PlatformRecord]:
    """What is published again, each behind its original. There is one of each kind at least."""
    duplicates = max(1, round(len(events) * DUPLICATE_SHARE))
    conflicts = max(1, round(len(events) * CONFLICT_SHARE))
    for each in repeats(random, [event.fields for event in events], duplicates, conflicts):
        original = events[each.place]
        again = replace(original, fields=each.fields, published_at=original.published_at + each.delay)
        yield _record(again, CONFLICT if each.contradicts else DUPLICATE)


def _mistakes(random: Random, term: datetime) -> Iterator[tuple[PlatformEvent, str]]:
    """What services get wrong: a password in an account, a price above the one before, an instalment too many."""
    user_id, course_id = object_id(random), object_id(random)
    writer = EventWriter(random, "a service", term - timedelta(days=30))
    writer.write(
        "user_registered",
        {"user_id": user_id},
        {"email": f"{user_id}@example.org", "username": user_id, "password": "secret"},
    )
    price = {"amount": "20.00", "currency": CURRENCY, "original_price": "10.00"}
    writer.write("course_priced", {"course_id": course_id}, {"pricing": {"price": price}})
    instalment = {
        "transaction_id": "by-nobody",
        "number": 4,
        "of": 3,
        "amount": "5.00",
        "currency": CURRENCY,
    }
    writer.write("instalment_paid", {"user_id": user_id, "course_id": course_id}, instalment)
    reasons = (RejectReason.FORBIDDEN_FIELD, RejectReason.INVALID_FIELD, RejectReason.INVALID_FIELD)
    yield from zip(writer.events, map(str, reasons), strict=True)
