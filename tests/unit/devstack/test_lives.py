"""The simulator lives a whole platform: its events keep the contract, and lead to what its ledger expects."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.lives import Collections, documents_of, stored_events
from worker.contract.codec import decode_event
from worker.contract.families import families_of
from worker.contract.family import Inlet
from worker.contract.rejection import Rejected
from worker.contract.routes import USUAL_TOPICS, routes
from worker.devstack.demo.documents_check import COLLECTIONS, compare_documents
from worker.devstack.simulator.ledger import Enrolment, ExpectedDocument, PaymentPlan
from worker.devstack.simulator.lives.platform import (
    CONFLICT,
    DUPLICATE,
    OK,
    Platform,
    payments_of,
    simulate_platform,
)
from worker.devstack.simulator.planner import make_courses, object_id, seeded
from worker.devstack.simulator.simulation import TERM_START, Simulation, simulate

# What is shown of an instructor in a course follows from learners, of whom a platform's own streams know nothing.
_OF_SUMS = "instructor.social_proof"
_LATE = datetime(2099, 1, 1, tzinfo=UTC)
NOBODY = "00000000-0000-4000-8000-000000000000"
_INLETS = (Inlet.CONTENT, Inlet.ACCOUNTS, Inlet.BILLING)


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(seed=7, records=5_000)


@pytest.fixture(scope="module")
def made(simulation: Simulation) -> Collections:
    """What the worker's folds and contests make of the whole simulation."""
    return documents_of(stored_events([*simulation.records, *simulation.platform.records]))


def of_streams(platform: Platform) -> list[ExpectedDocument]:
    """What is expected, without what only sums can say."""
    return [
        replace(each, fields={path: value for path, value in each.fields.items() if path != _OF_SUMS})
        for each in platform.documents
    ]


def test_the_folds_make_of_the_events_what_the_ledger_expects(
    simulation: Simulation, made: Collections
) -> None:
    expected = of_streams(simulation.platform)
    assert {each.collection for each in expected} == set(COLLECTIONS)
    assert [str(each) for each in compare_documents(expected, made)] == []


@pytest.mark.slow
def test_the_ledger_knows_every_document_there_is(simulation: Simulation, made: Collections) -> None:
    keys = {(each.collection, each.key) for each in simulation.platform.documents}
    found = {(name, key) for name in COLLECTIONS for key in made[name]}
    assert found - keys == set()
    assert len(keys) == len(simulation.platform.documents)


def test_some_courses_take_a_step_too_early_and_some_have_a_plan_that_costs_nothing(
    made: Collections,
) -> None:
    refused = [each["without_effect"] for each in made["courses"].values()]
    assert {reason for each in refused if each is not None for reason in each["reasons"]} == {
        "wrong_status",
        "price_unlike_type",
    }


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_seed_and_any_order_of_arrival_leads_to_its_ledger(seed: int) -> None:
    platform = paying_platform(seed)
    records = list(platform.records)
    seeded(seed, "arrival").shuffle(records)
    first = [each for each in records if each.outcome == OK]  # a contradiction that came first would stand
    assert compare_documents(of_streams(platform), documents_of(stored_events(first))) == []


def paying_platform(seed: int) -> Platform:
    """A platform of its own, in which nobody learns, but some pay."""
    random = seeded(seed, "payers")
    courses, people = make_courses(random), [object_id(random) for _ in range(12)]
    enrolments = [
        Enrolment(index, user_id, courses[index % 8].course_id, TERM_START, NOBODY, None)
        for index, user_id in enumerate(people)
    ]
    return simulate_platform(seed, TERM_START, courses, people, payments=payments_of(seed, enrolments))


def test_every_field_of_a_document_is_compared(simulation: Simulation, made: Collections) -> None:
    for collection in COLLECTIONS:
        expected = next(each for each in of_streams(simulation.platform) if each.collection == collection)
        for path in expected.fields:
            wrong = replace(expected, fields={**expected.fields, path: "another"})
            assert [each.field for each in compare_documents([wrong], made)] == [path]


def test_a_document_that_is_missing_is_a_difference_unless_its_time_is_over(simulation: Simulation) -> None:
    present = simulation.platform.documents[0]
    over = next(each for each in simulation.platform.documents if each.may_be_gone)
    assert [each.field for each in compare_documents([present, over], {})] == ["document"]


def test_every_record_goes_to_the_topic_of_its_family_and_has_the_outcome_that_is_foretold(
    simulation: Simulation,
) -> None:
    table = routes(USUAL_TOPICS)
    for record in simulation.platform.records:
        outgoing = record.outgoing(USUAL_TOPICS)
        assert outgoing.topic is not None
        decoded = decode_event(record.value, timestamp=_LATE, types=table[outgoing.topic].types)
        if isinstance(decoded, Rejected):
            assert decoded.reason == record.outcome
        else:
            assert record.outcome in (OK, DUPLICATE, CONFLICT)
            assert outgoing.key is not None


def test_duplicates_are_the_same_bytes_and_contradictions_are_not_and_both_come_behind(
    simulation: Simulation,
) -> None:
    first: dict[str, bytes] = {}
    for record in simulation.platform.records:
        event_id = orjson.loads(record.value)["event_id"]
        if record.outcome == OK:
            assert first.setdefault(event_id, record.value) is record.value
        elif record.outcome in (DUPLICATE, CONFLICT):
            assert (first[event_id] == record.value) is (record.outcome == DUPLICATE)
    outcomes = Counter(record.outcome for record in simulation.platform.records)
    assert outcomes[DUPLICATE] == round(0.02 * outcomes[OK])
    assert outcomes[CONFLICT] >= 1
    assert (outcomes["forbidden_field"], outcomes["invalid_field"]) == (1, 2)


def test_events_of_every_family_are_played_and_some_arrive_behind_later_ones(simulation: Simulation) -> None:
    bodies = [orjson.loads(each.value) for each in simulation.platform.records if each.outcome == OK]
    played = {body["event_type"] for body in bodies}
    for inlet in _INLETS:
        for family in families_of(inlet):
            assert played & set(family.events), family.name
    for stream_of in (_course_id, _user_id):
        moments = [
            (stream_of(body), datetime.fromisoformat(body["occurred_at"]))
            for body in bodies
            if stream_of(body) is not None
        ]
        by_stream: dict[str, list[datetime]] = {}
        for stream, moment in moments:
            by_stream.setdefault(str(stream), []).append(moment)
        assert any(one > other for some in by_stream.values() for one, other in pairwise(some))


def _course_id(body: dict[str, Any]) -> str | None:
    return body.get("course_id") if "user_id" not in body else None


def _user_id(body: dict[str, Any]) -> str | None:
    return body.get("user_id") if "course_id" not in body else None


def test_what_learners_are_stamped_with_is_published_before_they_begin(simulation: Simulation) -> None:
    platform = simulation.platform
    records = [*platform.before_term(), *platform.in_term(), *platform.after_term()]
    assert Counter(map(id, records)) == Counter(map(id, platform.records))
    before = documents_of(stored_events(platform.before_term()))
    for course_id, lessons in platform.stamps.items():
        (course,) = [each for key, each in before["courses"].items() if str(key) == course_id]
        assert course["publication"]["version"] == lessons[None]["version"]
        shown = [str(each["_id"]) for module in course["curriculum"] for each in module["lessons"]]
        assert set(shown) == set(lessons) - {None}


def test_the_same_seed_gives_the_same_platform() -> None:
    assert small_platform(3) == small_platform(3)
    assert ids(small_platform(3)).isdisjoint(ids(small_platform(4)))


def small_platform(seed: int) -> Platform:
    """Eight courses and twenty accounts, before anybody learns."""
    random = seeded(seed, "platform")
    courses, people = make_courses(random), [object_id(random) for _ in range(20)]
    return simulate_platform(seed, TERM_START, courses, people)


def ids(platform: Platform) -> set[str]:
    return {orjson.loads(each.value)["event_id"] for each in platform.records}


def test_the_platform_of_learners_follows_from_what_they_do(simulation: Simulation) -> None:
    """Whoever learns has an account, unless the simulation says that the platform never tells of it."""
    learners = {entry.user_id for entry in simulation.ledger}
    accounts = {str(each.key) for each in simulation.platform.expected("users")}
    assert 0.5 * len(learners) < len(accounts & learners) < len(learners)
    transactions = {entry.transaction_id for entry in simulation.ledger if entry.transaction_id}
    rows = {
        each.fields["transaction_id"]: each for each in simulation.platform.expected("billing_transactions")
    }
    assert transactions < rows.keys()
    assert {row.fields["status"] for row in rows.values()} == {"completed", "refunded", "pending", "failed"}


def test_payments_go_each_of_their_ways() -> None:
    paid = [
        Enrolment(
            number,
            "a" * 24,
            "b" * 24,
            TERM_START,
            NOBODY,
            PaymentPlan(f"tx-{number}", "50.00"),
        )
        for number in range(5)
    ]
    payments = payments_of(1, paid)
    assert [each.fields["status"] for each in payments.life.documents] == [*4 * ["completed"], "refunded"]
    assert [str(each.amount) for each in payments.paid] == ["50.00", "50.00", "50.00", "40.00", "0.00"]


def test_a_course_of_two_lessons_has_a_life_too() -> None:
    random = seeded(5, "short courses")
    short = [replace(each, lessons=each.lessons[:2]) for each in make_courses(random)]
    platform = simulate_platform(5, TERM_START, short, [])
    assert compare_documents(of_streams(platform), documents_of(stored_events(platform.records))) == []
