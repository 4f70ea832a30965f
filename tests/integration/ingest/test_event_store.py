"""The event store's inserts on the real unique keys: lost answers, refusals and races leave no hole."""

import pytest

from tests.integration.ingest.ledger import assert_dense
from tests.unit.ingest.samples import NOON, candidate, record
from worker.ingest.enrich.stamps import NO_STAMPS
from worker.ingest.event_store import EventStore
from worker.ingest.record import Candidate
from worker.ingest.versions import StreamVersions
from worker.storage.database import Database
from worker.storage.documents import event_document

POISON = "poisonous"


async def refuse_poison(database: Database) -> None:
    await database.content.command(
        {"collMod": "course_events", "validator": {"event_data.device_type": {"$ne": POISON}}}
    )


async def put(database: Database, stored: Candidate, version: int) -> None:
    """What an insert left in the store whose answer never came."""
    await database.course_events.insert_one(
        event_document(stored.event, version, stored.record.source, NOON, None)
    )


@pytest.mark.parametrize("refused", [0, 1, 2, 3])
async def test_an_insert_repeated_after_a_lost_answer_fills_the_holes_of_the_first(
    database: Database, refused: int
) -> None:
    await refuse_poison(database)
    batch = [candidate(n, n, device_type=POISON if n == refused else "mobile") for n in range(4)]
    versions = StreamVersions(database)
    stream = batch[0].event.stream_id
    assert await versions.highest([stream]) == {stream: 0}
    for number, stored in enumerate(batch):
        if number != refused:
            await put(database, stored, number + 1)
    appended = await EventStore(database, versions).append(batch, NO_STAMPS, NOON)
    assert [again.event.event_id for again in appended.lost_race] == [
        stored.event.event_id for number, stored in enumerate(batch) if number != refused
    ]
    assert [dead_letter.event_id for dead_letter in appended.refused] == [batch[refused].event.event_id]
    documents = await database.course_events.find({}).to_list(None)
    assert_dense(documents)
    assert len(documents) == (3 if refused == 3 else 4)


@pytest.mark.parametrize("places", [(0,), (499,), (999,), (0, 1, 2, 498, 500, 998, 999)])
async def test_of_a_thousand_documents_only_the_refused_ones_become_dead_letters(
    database: Database, places: tuple[int, ...]
) -> None:
    await refuse_poison(database)
    batch = [candidate(n, n, device_type=POISON if n in places else "mobile") for n in range(1_000)]
    appended = await EventStore(database, StreamVersions(database)).append(batch, NO_STAMPS, NOON)
    assert [dead_letter.event_id for dead_letter in appended.refused] == [
        batch[n].event.event_id for n in places
    ]
    assert [stored.record for stored in appended.stored] == [
        each.record for n, each in enumerate(batch) if n not in places
    ]
    documents = await database.course_events.find({}).to_list(None)
    assert_dense(documents)
    voids = sum(document["event_type"] == "void" for document in documents)
    assert voids == appended.holes_filled
    assert len(documents) == 1_000 - len(places) + voids


async def test_an_event_stored_meanwhile_by_another_writer_leaves_no_hole(database: Database) -> None:
    batch = [candidate(n, n) for n in range(4)]
    versions = StreamVersions(database)
    await versions.highest([batch[0].event.stream_id])
    other = Candidate(record(900, partition=3), batch[1].event)
    await put(database, other, 1)
    store = EventStore(database, versions)
    appended = await store.append(batch, NO_STAMPS, NOON)
    assert_dense(await database.course_events.find({}).to_list(None))
    known = await store.known(appended.lost_race)
    assert known[batch[1].event.event_id].source == other.record.source
    again = [candidate for candidate in appended.lost_race if candidate.event.event_id not in known]
    last = await store.append(again, NO_STAMPS, NOON)
    assert not last.lost_race
    documents = await database.course_events.find({}).to_list(None)
    assert_dense(documents)
    assert {d["_id"] for d in documents if d["event_type"] != "void"} == {c.event.event_id for c in batch}


async def test_a_stored_document_is_given_back_as_it_was_written(database: Database) -> None:
    store, batch = EventStore(database, StreamVersions(database)), [candidate(n, n) for n in range(3)]
    appended = await store.append(batch, NO_STAMPS, NOON)
    found = await store.documents([candidate.event.event_id for candidate in batch])
    assert [found[stored.document["_id"]] for stored in appended.stored] == [
        stored.document for stored in appended.stored
    ]
