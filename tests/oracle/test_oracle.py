"""The oracle itself: it accepts what is right, and each kind of damage, seeded on purpose, is seen."""

import ast
import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from bson import ObjectId

import tests.oracle
from projections.event import StoredEvent
from projections.progress import fold
from tests.conftest import RunningMongo
from tests.oracle import Entry, check, read_ledger, write_ledger
from tests.oracle.progress import expected_numbers, shown_numbers
from worker.contract.codec import decode
from worker.contract.event import Event, Rejected, RejectReason
from worker.contract.identity import stream_object_id
from worker.devstack.simulator import simulate
from worker.ingest.dead_letters import letter_documents
from worker.ingest.record import Letter, Record
from worker.storage.database import Database, Document
from worker.storage.documents import Source, event_document, interaction_row, void_document

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POISON = (b'{"event_id": ', b"\xff\xfe", b'{"event_type": "unheard_of"}')
STRANGER = f"course_{ObjectId()}_user_{ObjectId()}"


@dataclass
class Store:
    """What the worker would have stored for a ledger, in lists that a test may damage before they are inserted."""

    ledger: list[Entry] = field(default_factory=list)
    events: list[Document] = field(default_factory=list)
    rows: list[Document] = field(default_factory=list)
    progress: list[Document] = field(default_factory=list)
    letters: list[Document] = field(default_factory=list)

    def letter(self, reason: str) -> Document:
        return next(
            letter for letter in self.letters if (letter["reason"] == "conflict") == (reason == "conflict")
        )

    def with_quiz(self) -> Document:
        return next(each for each in self.progress if each["performance"]["quiz_average"] is not None)

    async def insert(self, database: Database) -> None:
        await database.course_events.insert_many(self.events)
        await database.user_interactions.insert_many(self.rows)
        await database.user_progress.insert_many(self.progress)
        await database.dead_letters.insert_many(self.letters)


@pytest.fixture
def right() -> Store:
    """800 simulated records and some poison, stored as they should be, one void among the events."""
    store = Store()
    versions: dict[str, int] = {}
    for offset, value in enumerate([*_simulated(800), *POISON]):
        _take(store, value, offset, versions)
    victim = store.events[0]["stream_id"]
    store.events.append(void_document(victim, versions[victim] + 1, NOW))
    store.rows = [interaction_row(event) for event in store.events if event["event_type"] != "void"]
    store.progress = list(_folded(store.events))
    return store


def _simulated(records: int) -> Iterator[bytes]:
    for record in simulate(7, records).records:
        if record.value is not None:
            yield record.value


def _take(store: Store, value: bytes, offset: int, versions: dict[str, int]) -> None:
    """One record on its way: stored, a duplicate, a conflict or poison."""
    record = Record(Source("t", 0, offset), NOW, None, value)
    decoded = decode(value, timestamp=NOW)
    if isinstance(decoded, Rejected):
        store.ledger.append(Entry(None, None, "poison", value))
        store.letters.extend(letter_documents(Letter(record, decoded), NOW))
        return
    known = {entry.event_id: entry.value for entry in store.ledger if entry.kind == "ok"}
    if decoded.event_id not in known:
        versions[decoded.stream_id] = versions.get(decoded.stream_id, 0) + 1
        document = event_document(decoded, versions[decoded.stream_id], record.source, NOW, None)
        store.events.append(document)
        store.ledger.append(Entry(decoded.event_id, decoded.stream_id, "ok", value))
    elif known[decoded.event_id] == value:
        store.ledger.append(Entry(decoded.event_id, decoded.stream_id, "duplicate", value))
    else:
        store.ledger.append(Entry(decoded.event_id, decoded.stream_id, "conflict", value))
        conflict = Rejected(RejectReason.CONFLICT, "another event has this id")
        store.letters.extend(letter_documents(Letter(record, conflict, decoded.event_id), NOW))


def _folded(events: Sequence[Document]) -> Iterator[Document]:
    ordered = sorted(events, key=lambda event: (event["stream_id"], event["version"]))
    for stream, own in groupby(ordered, key=lambda event: event["stream_id"]):
        folded = fold(None, [StoredEvent.from_document(event) for event in own], "live")
        yield {"_id": stream_object_id(stream), "rev": 1, **folded}


async def judged(database: Database, mongodb: RunningMongo, store: Store) -> list[str]:
    await store.insert(database)
    return await asyncio.to_thread(check, mongodb.uri, database.prefix, store.ledger, in_order=True)


async def test_what_is_right_is_accepted(database: Database, mongodb: RunningMongo, right: Store) -> None:
    kinds = {entry.kind for entry in right.ledger}

    assert kinds == {"ok", "duplicate", "conflict", "poison"}
    assert await judged(database, mongodb, right) == []


def _lose_event(store: Store) -> None:
    del store.events[-2]


def _invent_event(store: Store) -> None:
    last = store.events[-1]
    store.events.append({**store.events[0], "_id": uuid4(), "version": last["version"] + 1})


def _alter_event(store: Store) -> None:
    event = next(event for event in store.events if event["event_type"] == "view")
    event["event_data"]["value"] = 4711.5


def _leave_hole(store: Store) -> None:
    store.events[-1]["version"] += 1


def _swap_versions(store: Store) -> None:
    first, second = [event for event in store.events if event["stream_id"] == store.events[0]["stream_id"]][
        :2
    ]
    first["version"], second["version"] = second["version"], first["version"]


def _store_conflict_instead(store: Store) -> None:
    conflict = next(entry for entry in store.ledger if entry.kind == "conflict")
    event = next(event for event in store.events if event["_id"] == conflict.event_id)
    event["occurred_at"] -= timedelta(minutes=1)


def _lose_row(store: Store) -> None:
    del store.rows[5]


def _double_row(store: Store) -> None:
    store.rows.append(store.rows[5])


def _invent_row(store: Store) -> None:
    store.rows.append({**store.rows[5], "_id": uuid4()})


def _row_of_void(store: Store) -> None:
    store.rows.append({**store.rows[5], "_id": store.events[-1]["_id"]})


def _alter_row(store: Store) -> None:
    store.rows[5]["timestamp"] += timedelta(milliseconds=1)


def _lose_progress(store: Store) -> None:
    del store.progress[0]


def _leave_progress_behind(store: Store) -> None:
    store.progress[0]["version"] -= 1


def _invent_progress(store: Store) -> None:
    store.progress.append(
        {**store.progress[0], "_id": ObjectId(), "user_id": ObjectId(), "stream_id": STRANGER}
    )


def _wrong_percentage(store: Store) -> None:
    store.progress[0]["progress"]["percentage"] = 12.34


def _wrong_lessons(store: Store) -> None:
    store.progress[0]["progress"]["completed_lessons"] += 1


def _wrong_time(store: Store) -> None:
    store.progress[0]["time_tracking"]["total_seconds"] += 0.001


def _wrong_average(store: Store) -> None:
    store.with_quiz()["performance"]["quiz_average"] = 0.01


def _lose_dead_letter(store: Store) -> None:
    store.letters.remove(store.letter("poison"))


def _double_dead_letter(store: Store) -> None:
    store.letters.append({**store.letter("conflict"), "_id": "t:0:0:again"})


def _alter_dead_letter(store: Store) -> None:
    letter = store.letter("poison")
    letter["value"] = letter["value"] + b" "


def _bury_healthy_record(store: Store) -> None:
    healthy = next(entry for entry in store.ledger if entry.kind == "ok")
    store.letters.append({**store.letter("poison"), "_id": "t:0:0:healthy", "value": healthy.value})


def _leave_gap(store: Store) -> None:
    gap = {"first_offset": 1, "last_offset": 9}
    store.letters.append(
        {**store.letter("poison"), "_id": "t:0:1-9:gap", "kind": "gap", "value": None, "gap": gap}
    )


DAMAGE: dict[Callable[[Store], None], str] = {
    _lose_event: "is missing: 0 of 1",
    _invent_event: "is unexpected",
    _alter_event: "does not say what its producer said",
    _leave_hole: "are not 1 to",
    _swap_versions: "do not follow the order of publishing",
    _store_conflict_instead: "does not say what its producer said",
    _lose_row: "row ",
    _double_row: "is there too often: 2 of 1",
    _invent_row: "is unexpected",
    _row_of_void: "is unexpected",
    _alter_row: "does not say what its event says",
    _lose_progress: "progress document",
    _leave_progress_behind: "is at version",
    _invent_progress: "is unexpected",
    _wrong_percentage: "shows Numbers",
    _wrong_lessons: "shows Numbers",
    _wrong_time: "shows Numbers",
    _wrong_average: "shows Numbers",
    _lose_dead_letter: "dead letter (poison)",
    _double_dead_letter: "is there too often",
    _alter_dead_letter: "dead letter (poison)",
    _bury_healthy_record: "is unexpected",
    _leave_gap: "were never read",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__.strip("_").replace("_", " "))
async def test_seeded_damage_is_seen(
    database: Database, mongodb: RunningMongo, right: Store, damage: Callable[[Store], None]
) -> None:
    damage(right)

    violations = await judged(database, mongodb, right)

    assert any(DAMAGE[damage] in violation for violation in violations), violations


async def test_a_rule_broken_often_is_told_a_few_times_and_counted(
    database: Database, mongodb: RunningMongo, right: Store
) -> None:
    right.rows = right.rows[:1]

    violations = await judged(database, mongodb, right)

    assert len(violations) == 21
    assert violations[-1].startswith("... and ")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_implementations_agree_on_simulated_learners_in_any_order_of_arrival(seed: int) -> None:
    events = [decode(value, timestamp=NOW) for value in _simulated(3_000)]
    unique = list({event.event_id: event for event in events if isinstance(event, Event)}.values())
    random.Random(seed).shuffle(unique)  # noqa: S311 - a repeatable order, nothing secret
    versions: dict[str, int] = {}
    documents = []
    for number, event in enumerate(unique):
        versions[event.stream_id] = versions.get(event.stream_id, 0) + 1
        documents.append(event_document(event, versions[event.stream_id], Source("t", 0, number), NOW, None))

    for document in _folded(documents):
        own = [event for event in documents if event["stream_id"] == document["stream_id"]]
        assert shown_numbers(document) == expected_numbers(own)


def test_a_ledger_survives_its_file(tmp_path: Path) -> None:
    entries = [
        Entry(UUID(int=1), STRANGER, "ok", b"{}"),
        Entry(None, None, "poison", bytes(range(256))),
    ]

    write_ledger(tmp_path / "ledger", entries[:1])
    write_ledger(tmp_path / "ledger", entries[1:])

    assert read_ledger(tmp_path / "ledger") == entries


def test_the_oracle_imports_nothing_of_what_it_judges() -> None:
    folder = Path(tests.oracle.__file__).parent
    for path in folder.glob("*.py"):
        if not path.name.startswith("test_"):
            assert _imported(path).isdisjoint({"worker", "projections"}), path


def _imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [name.name for node in nodes if isinstance(node, ast.Import) for name in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".", maxsplit=1)[0] for name in names}
