"""An old and a new release side by side under load: documents move to the new version, and never back."""

from pathlib import Path
from typing import Any

from projections.event import StoredEvent
from projections.progress import FOLDED_PATHS
from tests.apache import upgraded
from tests.apache.fleet import LIMIT_S, Worker, fleet
from tests.apache.load import Load
from tests.apache.reader import Reader
from tests.conftest import RunningMongo
from tests.oracle import ALL
from tests.oracle.stored import with_lists
from tests.support.waiting import until
from worker.storage.database import Collection, Database
from worker.storage.shares import GROUPS

PER_S = 500
AT_FULL_RATE = 20_000  # as many as this takes on a machine with nothing else to do
LEAST_DOCUMENTS = 100  # of the old release, before the new one comes
NEW = "tests.apache.upgraded"


async def test_a_rolling_upgrade_raises_every_document_and_no_reader_sees_a_hole(
    tmp_path: Path, database: Database, mongodb: RunningMongo, kafka: str
) -> None:
    records = Reader(database.user_progress, "projection_version", ("rev", "version"))
    counted = Reader(
        database.user_progress_projections, "counts_version", ("source_rev", "last_event_version")
    )
    async with fleet(tmp_path, database, mongodb.uri, kafka) as ours, records, counted:
        async with Load(kafka, ours.topic, seed=8_000, per_s=PER_S, at_full_rate=AT_FULL_RATE) as first:
            old, doomed = ours.start("old"), ours.start("doomed")
            await ours.owned_by(old, doomed)
            await until(lambda: many(database.user_progress), "documents of the old release", LIMIT_S)
            new = ours.start("new", module=NEW)
            await ours.owned_by(old, doomed, new)
            # An old worker that dies and is started again gets partitions, and no documents it cannot move.
            await doomed.kill()
            restarted = ours.start("restarted")
            await until(lambda: restarted_shares(restarted), "the old worker to be back", LIMIT_S)
            await until(lambda: groups_of(GROUPS, old, new), "the groups to be taken", LIMIT_S)
            await first.stop()
        await ours.drained(first)  # nothing stands still in the mixed fleet
        assert await restarted.groups() == 0

        async with Load(kafka, ours.topic, seed=9_000, per_s=PER_S, at_full_rate=AT_FULL_RATE) as second:
            assert await old.stop() == 0
            newer = ours.start("newer", module=NEW)
            await until(lambda: newer.shares(), "the second new worker to join", LIMIT_S)
            assert await restarted.stop() == 0
            await ours.owned_by(new, newer)
            await second.stop()
        await ours.drained(first, second)
        await until(lambda: raised(database), "all documents to be of the new version", LIMIT_S)
        assert await ours.stop_all(new, newer) == [0, 0]

        assert await differing(database) == []
        # Records and counts are the new release's, which the oracle does not know: `differing` judges them.
        assert await ours.wrong(first, second, invariants=ALL - {5, 6}) == []
        verified = await ours.verified()
        # Nobody of the new release runs any more: here its documents stand still, which is said, and nothing else.
        assert verified.finding_counts.keys() <= {"progress_newer", "projection_newer"}
        assert verified.of("progress").other_version == verified.of("progress").documents > LEAST_DOCUMENTS
    assert (records.faults, counted.faults) == ([], [])
    assert min(records.mixed, counted.looks) > 0


async def many(collection: Collection) -> bool:
    return await collection.count_documents({}) >= LEAST_DOCUMENTS


async def restarted_shares(worker: Worker) -> bool:
    worker.process.require_alive()
    return await worker.partitions() > 0


async def groups_of(count: int, *workers: Worker) -> bool:
    return sum([await worker.groups() for worker in workers]) == count


async def raised(database: Database) -> bool:
    """Whether no document of an old version is left."""
    old = await database.user_progress.count_documents(
        {"projection_version": {"$ne": upgraded.PROJECTION_VERSION}}
    )
    uncounted = await database.user_progress_projections.count_documents(
        {"counts_version": {"$ne": upgraded.COUNTS_VERSION}}
    )
    return old == uncounted == 0


async def differing(database: Database) -> list[str]:
    """Streams whose documents are not those of a clean fold by the new release."""
    events: dict[str, list[Any]] = {}
    stored = await database.course_events.find({}).sort([("stream_id", 1), ("version", 1)]).to_list(None)
    for event in with_lists(stored, await database.lesson_lists.find({}).to_list(None)):
        events.setdefault(event["stream_id"], []).append(StoredEvent.from_document(event))
    found = []
    async for document in database.user_progress.find({}):
        stream = document["stream_id"]
        shown = {path: document[path] for path in FOLDED_PATHS}
        projection = await database.user_progress_projections.find_one({"_id": document["_id"]})
        assert projection is not None
        counts = upgraded.new_vector(document).document()
        if shown != upgraded.refolded(events[stream], document) or projection["counted"] != counts:
            found.append(stream)
    return found
