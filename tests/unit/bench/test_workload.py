"""The records are the same for everybody, valid, every event once, and many learners at a time."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import bson
import orjson

from bench.contestants.limit import dealt, read_file
from bench.contestants.shapes import documents
from bench.final_documents import write_final_documents
from bench.growth import copies
from bench.records import AnyWorkload, ManyLearners, Workload
from worker.contract.codec import decode_event
from worker.contract.event import Event
from worker.storage.database import CODEC_OPTIONS

MANY = ManyLearners(events=1_200)
SMALL = Workload(events=300, learners=50, courses=3)


def events(workload: AnyWorkload) -> list[Event]:
    read = [decode_event(record.value or b"", timestamp=datetime.now(UTC)) for record in workload.records()]
    assert all(isinstance(event, Event) for event in read)
    return [event for event in read if isinstance(event, Event)]


def test_one_seed_gives_the_same_bytes() -> None:
    assert list(SMALL.records()) == list(SMALL.records())
    assert list(SMALL.records()) != list(Workload(events=300, learners=50, courses=3, seed=8).records())


def test_there_are_as_many_records_as_asked_for_and_every_event_once() -> None:
    read = events(SMALL)
    assert len(read) == len({event.event_id for event in read}) == SMALL.events


def test_learners_take_turns() -> None:
    order = [event.user_id for event in events(SMALL)]
    assert set(Counter(order).values()) == {SMALL.events // SMALL.learners}
    assert len(set(order[: SMALL.learners])) == SMALL.learners


def test_every_learner_begins_by_enrolling_and_is_known_to_the_platform() -> None:
    first = {event.user_id: event.event_type for event in reversed(events(SMALL))}
    courses, users = SMALL.platform()
    assert set(first.values()) == {"course_enrolled"}
    assert {user["_id"] for user in users} == set(first)
    assert {event.course_id for event in events(SMALL)} <= {course["_id"] for course in courses}


def test_many_learners_are_30_000_of_22_courses_with_2_4_events_each() -> None:
    assert (ManyLearners().events, ManyLearners().learners, ManyLearners().courses) == (72_000, 30_000, 22)
    read = events(MANY)
    assert len({event.event_id for event in read}) == MANY.events
    each = Counter(event.stream_id for event in read)
    assert len(each) == MANY.learners == 500
    assert Counter(each.values()) == {2: 300, 3: 200}
    assert len({event.course_id for event in read}) == 22


def test_many_learners_enrol_take_quizzes_and_leave_in_fixed_shares() -> None:
    kinds = Counter(event.event_type for event in events(MANY))
    assert kinds == {"course_enrolled": 180, "quiz_submitted": 960, "course_unenrolled": 60}


def test_many_learners_come_in_random_order_and_time_goes_on() -> None:
    read = events(MANY)
    turn = Counter(event.user_id for event in read[: MANY.learners])
    assert (
        0.5 * MANY.learners < len(turn) < 0.8 * MANY.learners
    )  # a random two fifths of the events, not one each
    times = [event.occurred_at for event in read]
    assert times == sorted(times)
    assert len(set(times)) == len(times)


def test_many_learners_give_the_same_bytes_for_one_seed_with_and_without_documents() -> None:
    assert list(MANY.records()) == list(ManyLearners(events=1_200, present=True).records())
    assert list(MANY.records()) != list(ManyLearners(events=1_200, seed=8).records())


def test_the_platform_can_store_all_many_learners_and_their_courses() -> None:
    courses, users = ManyLearners().platform()
    assert len({course["slug"] for course in courses}) == len(courses) == 22
    for unique in ("_id", "email", "username"):
        assert len({user[unique] for user in users}) == len(users) == 30_000


def test_the_final_documents_are_those_of_the_records_with_versions_from_one(tmp_path: Path) -> None:
    write_final_documents(tmp_path, "topic", SMALL.records())
    stored, rows = read_file(tmp_path / "events.bson"), read_file(tmp_path / "rows.bson")
    assert [event["_id"] for event in stored] == [row["_id"] for row in rows]
    versions: dict[str, list[int]] = {}
    for event in stored:
        versions.setdefault(event["stream_id"], []).append(event["version"])
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())


def test_batches_are_dealt_out_in_turns_and_none_is_lost(tmp_path: Path) -> None:
    write_final_documents(tmp_path, "topic", SMALL.records())
    stored = read_file(tmp_path / "events.bson")
    first, second = dealt(stored, batch=100, connections=2)
    assert [len(batch) for batch in (*first, *second)] == [100, 100, 100]
    assert sorted(event["_id"] for batch in (*first, *second) for event in batch) == sorted(
        e["_id"] for e in stored
    )


def test_copies_are_events_of_other_learners_in_the_same_courses(tmp_path: Path) -> None:
    write_final_documents(tmp_path, "topic", SMALL.records())
    stored, rows = read_file(tmp_path / "events.bson"), read_file(tmp_path / "rows.bson")
    made = list(copies(stored, rows, Random(1)))  # noqa: S311 - a repeatable test
    own = {event["event_data"]["user_id"] for event in stored}
    for (event, row), original in zip(made, stored, strict=True):
        user = event["event_data"]["user_id"]
        assert user not in own
        assert row["metadata"]["user_id"] == user
        assert event["_id"] == row["_id"] != original["_id"]
        assert event["stream_id"] == f"course_{event['event_data']['course_id']}_user_{user}"
        assert event["version"] == original["version"]
    assert len({event["_id"] for event, _ in made}) == len(stored)


def test_hand_written_documents_have_the_size_of_the_workers_less_what_they_leave_out(tmp_path: Path) -> None:
    """Peers must not win by writing less than they say: fingerprint (32 bytes) and source are what is missing."""
    write_final_documents(tmp_path, "topic", SMALL.records())
    stored, rows = read_file(tmp_path / "events.bson"), read_file(tmp_path / "rows.bson")
    for record, event, row in zip(SMALL.records(), stored, rows, strict=True):
        if (
            event["event_type"] == "lesson_note_saved"
        ):  # free text has its own place in the worker's documents
            continue
        ours, theirs = documents(orjson.loads(record.value or b""), 1)
        assert len(bson.encode(theirs, codec_options=CODEC_OPTIONS)) == len(row.raw)
        left_out = len(event.raw) - len(bson.encode(ours, codec_options=CODEC_OPTIONS))
        assert 32 < left_out < 140
