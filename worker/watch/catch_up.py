"""Which streams are behind: the event store compared with the documents, page by page, in one pass.

For when the change stream cannot tell: history lost, no position, or a fold of another version.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping

from worker.contract.identity import stream_object_id, stream_slot
from worker.storage.database import Database
from worker.storage.errors import translated
from worker.storage.leases import group_slots
from worker.watch.cursor import ServerCursor
from worker.watch.plan import number_in

# A page takes some 30 ms to compare, and its streams then fit into a few rounds of folding.
STREAMS_PER_PAGE = 5_000

# In this order and grouping the server jumps from stream to stream in the unique index (DISTINCT_SCAN).
_HIGHEST = (
    {"$sort": {"stream_id": -1, "version": -1}},
    {"$group": {"_id": "$stream_id", "version": {"$first": "$version"}}},
)


async def behind(
    database: Database, groups: Iterable[int], projection_version: int
) -> AsyncGenerator[dict[str, int], None]:
    """Pages of the groups' streams whose document is missing, behind, or made by an older fold.

    Each page maps streams to their highest version; it may be empty, so that the caller gets its turn. Only
    what had a majority when this was called is certain to be seen: put a barrier before it.
    """
    slots = {slot for group in groups for slot in group_slots(group)}
    cursor = await ServerCursor.open(database.course_events, _HIGHEST)
    try:
        while not cursor.exhausted:
            rows = await cursor.next_batch(STREAMS_PER_PAGE)
            heads = {row["_id"]: row["version"] for row in rows if stream_slot(row["_id"]) in slots}
            yield await _older(database, heads, projection_version) if heads else {}
    finally:
        await cursor.close()


async def _older(database: Database, heads: Mapping[str, int], projection_version: int) -> dict[str, int]:
    identities = {stream_object_id(stream): stream for stream in heads}
    with translated():
        documents = await database.user_progress.find(
            {"_id": {"$in": list(identities)}}, {"version": 1, "projection_version": 1}
        ).to_list(None)
    current = {
        identities[document["_id"]]
        for document in documents
        if number_in(document, "version") >= heads[identities[document["_id"]]]
        and number_in(document, "projection_version") >= projection_version
    }
    return {stream: version for stream, version in heads.items() if stream not in current}
