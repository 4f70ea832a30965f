"""Whether what is stored is what the events say: by the oracle, which shares no code with it, and by verify."""

from collections.abc import AsyncIterator, Mapping

from tests.oracle.progress import document_differences
from tests.oracle.stored import with_lists
from tests.support.trials.system import System
from worker.contract.identity import stream_object_id
from worker.storage.database import Database, Document
from worker.verify.findings import Kind

_AT_ONCE = 500  # streams, with all of their events in memory
_OF_INGEST = (Kind.ROW, Kind.PAYMENT)


async def found_by_oracle(database: Database) -> list[str]:
    """Where a document shows something else than its events say, stream by stream."""
    found: list[str] = []
    page: list[tuple[str, list[Document]]] = []
    async for stream in _streams(database):
        page.append(stream)
        if len(page) == _AT_ONCE:
            found += await _differences(database, page)
            page = []
    return found + await _differences(database, page)


async def found_by_verify(world: System) -> list[str]:
    """Everything but rows of the time series and payments that are missing: the history was stored without ingest.

    By the command, so that it runs beside the oracle. It names the first findings of all, and counts each kind.
    """
    ended = await world.command("verify", "--settled", "--json")
    faults: Mapping[str, Mapping[str, int]] = ended.summary.get(
        "faults", {"verify": {f"code {ended.code}": 1}}
    )
    counted = [
        f"verify: {fault} {kind}: {number}"
        for kind, each in faults.items()
        if kind not in _OF_INGEST
        for fault, number in each.items()
    ]
    named = [each for each in ended.summary.get("findings", []) if each["subject_kind"] not in _OF_INGEST]
    return counted + [f"{each['kind']} {each['subject']}: {each['detail']}" for each in named]


async def _streams(database: Database) -> AsyncIterator[tuple[str, list[Document]]]:
    events = database.course_events.find({}).sort([("stream_id", 1), ("version", 1)]).batch_size(5_000)
    stream: list[Document] = []
    async for event in events:
        if stream and stream[0]["stream_id"] != event["stream_id"]:
            yield stream[0]["stream_id"], stream
            stream = []
        stream.append(event)
    if stream:
        yield stream[0]["stream_id"], stream


async def _differences(database: Database, page: list[tuple[str, list[Document]]]) -> list[str]:
    ids = [stream_object_id(stream) for stream, _ in page]
    documents = await database.user_progress.find({"_id": {"$in": ids}}).to_list(None)
    shown = {document["stream_id"]: document for document in documents}
    lists = await database.lesson_lists.find({}).to_list(None)
    found = [f"{stream} has no document" for stream, _ in page if stream not in shown]
    for stream, events in page:
        if stream in shown:
            found += document_differences(shown[stream], with_lists(events, lists))
    return found
