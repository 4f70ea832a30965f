"""The simulator keeps its promises: shares, order, determinism, and a ledger its own events add up to."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.contract.codec import decode_event, record_key
from worker.contract.event import Event
from worker.contract.events.interactions import EVENT_TYPES
from worker.devstack.simulator.ledger import LedgerEntry
from worker.devstack.simulator.simulation import TERM_START, Simulation, simulate

LATE = timedelta(hours=1)


@pytest.fixture(scope="module", params=[1, 7, 2026])
def simulation(request: pytest.FixtureRequest) -> Simulation:
    return simulate(request.param, 20_000)


def bodies(simulation: Simulation) -> list[dict[str, Any]]:
    return [orjson.loads(record.value or b"") for record in simulation.records]


def first_of_each(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a correct worker keeps: the first record of every event id."""
    kept: dict[str, dict[str, Any]] = {}
    for event in events:
        kept.setdefault(event["event_id"], event)
    return list(kept.values())


def test_every_record_keeps_the_contract(simulation: Simulation) -> None:
    for record, body in zip(simulation.records, bodies(simulation), strict=True):
        timestamp = datetime.fromisoformat(body["occurred_at"]) + timedelta(minutes=1)
        decoded = decode_event(record.value or b"", timestamp=timestamp)
        assert isinstance(decoded, Event), decoded


def test_every_record_has_the_recommended_key(simulation: Simulation) -> None:
    assert all(record.key == record_key(record.value or b"") is not None for record in simulation.records)


def test_every_event_type_has_half_a_percent_or_more(simulation: Simulation) -> None:
    shares = Counter(body["event_type"] for body in bodies(simulation))
    assert min(shares[event_type] for event_type in EVENT_TYPES) >= 0.005 * len(simulation.records), shares


def test_five_percent_or_more_arrive_over_an_hour_late(simulation: Simulation) -> None:
    newest, late = TERM_START, 0
    for body in bodies(simulation):
        occurred = datetime.fromisoformat(body["occurred_at"])
        late += newest - occurred > LATE
        newest = max(newest, occurred)
    assert late >= 0.05 * len(simulation.records)


def test_duplicates_are_the_same_bytes_and_conflicts_are_not(simulation: Simulation) -> None:
    first: dict[str, bytes | None] = {}
    duplicates = conflicts = 0
    for record, body in zip(simulation.records, bodies(simulation), strict=True):
        if body["event_id"] not in first:
            first[body["event_id"]] = record.value
        elif first[body["event_id"]] == record.value:
            duplicates += 1
        else:
            conflicts += 1
    assert (duplicates, conflicts) == (400, 20)
    assert (simulation.duplicates, simulation.conflicts) == (400, 20)
    assert len(first) == simulation.unique == 19_580


def test_streams_are_interleaved(simulation: Simulation) -> None:
    keys = [record.key for record in simulation.records]
    switches = sum(before != after for before, after in pairwise(keys))
    assert switches > 0.4 * len(keys)


def test_lessons_are_opened_in_the_order_of_the_course(simulation: Simulation) -> None:
    order: dict[str, dict[str, int]] = defaultdict(dict)
    for body in sorted(first_of_each(bodies(simulation)), key=lambda body: body["occurred_at"]):
        if body["event_type"] == "lesson_started":
            opened = order[f"{body['course_id']}:{body['user_id']}"]
            assert body["lesson_id"] not in opened
            opened[body["lesson_id"]] = len(opened)
    longest: dict[str, dict[str, int]] = {}
    for stream, opened in order.items():
        course = stream.partition(":")[0]
        if len(opened) > len(longest.get(course, ())):
            longest[course] = opened
    for stream, opened in order.items():
        reference = longest[stream.partition(":")[0]]
        assert opened.items() <= reference.items()


def test_the_ledger_names_every_learner_and_course_once(simulation: Simulation) -> None:
    names = Counter(f"{entry.course_id}:{entry.user_id}".encode() for entry in simulation.ledger)
    assert max(names.values()) == 1
    assert set(names) == {record.key for record in simulation.records}


def test_the_ledger_has_every_kind_of_learner(simulation: Simulation) -> None:
    assert any(entry.dropped for entry in simulation.ledger)
    assert any(entry.percentage == 10_000 for entry in simulation.ledger)
    assert any(0 < entry.percentage < 9_999 for entry in simulation.ledger)
    assert any(entry.quiz_average is None for entry in simulation.ledger)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 900))
def test_the_events_add_up_to_the_ledger(seed: int, size: int) -> None:
    simulation = simulate(seed, size)
    assert len(simulation.records) == size
    assert recount(first_of_each(bodies(simulation))) == set(simulation.ledger)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_bytes(seed: int) -> None:
    assert simulate(seed, 300) == simulate(seed, 300)
    assert simulate(seed, 300).records != simulate(seed + 1, 300).records


def recount(events: list[dict[str, Any]]) -> set[LedgerEntry]:
    """The ledger once more, from the events alone."""
    streams: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        streams[event["user_id"], event["course_id"]].append(event)
    return {recount_one(user_id, course_id, own) for (user_id, course_id), own in streams.items()}


def recount_one(user_id: str, course_id: str, events: list[dict[str, Any]]) -> LedgerEntry:
    of_type: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        of_type[event["event_type"]].append(event)
    completed = {event["lesson_id"] for event in of_type["complete"]}
    lessons = dict.fromkeys(completed, 10_000)
    for event in events:
        share = event.get("details", {}).get("progress", 0)
        if "lesson_id" in event:
            lessons[event["lesson_id"]] = max(lessons.get(event["lesson_id"], 0), round(share * 10_000))
    total = of_type["course_enrolled"][0]["details"]["total_lessons"]
    full = sum(hundredths == 10_000 for hundredths in lessons.values()) >= total
    seen = 10_000 if full else min(9_999, sum(lessons.values()) // total)
    reports = [round(event["details"]["new_progress"] * 100) for event in of_type["progress_updated"]]
    scores = [round(event["details"]["score"] * 100) for event in of_type["quiz_submitted"]]
    ratings = sorted(of_type["course_rated"], key=lambda event: datetime.fromisoformat(event["occurred_at"]))
    payment = of_type["course_enrolled"][0]["details"].get("payment", {})
    return LedgerEntry(
        user_id=user_id,
        course_id=course_id,
        percentage=max([seen, *reports]),
        completed_lessons=len(completed),
        time_ms=sum(round(event.get("details", {}).get("time_spent", 0) * 1_000) for event in events),
        quiz_average=int(sum(scores) / len(scores) + 0.5) if scores else None,
        dropped=bool(of_type["course_unenrolled"]),
        finished=full,
        stars=ratings[-1]["value"] if ratings else None,
        discussion_posts=len(of_type["discussion_posted"]),
        questions_asked=len(of_type["question_asked"]),
        certificates=len(of_type["certificate_issued"]),
        transaction_id=payment.get("transaction_id"),
        amount=payment.get("amount"),
    )
