"""Which streams are behind: the event store compared with the documents, page by page, in one pass.

For when the change stream cannot tell: history lost, no position, or a fold of another version.
"""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from worker.contract.identity import stream_object_id, stream_slot
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.leases import group_slots
from worker.storage.stream_versions import HIGHEST_VERSIONS
from worker.watch.folds.plan import number_in
from worker.watch.stream.cursor import ServerCursor

# A page takes some 30 ms to compare, and its streams then fit into a few rounds of folding.
STREAMS_PER_PAGE = 5_000

_NOWHERE: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Page:
    """Streams to fold, with their highest versions; `below` is the last stream of the page.

    All streams from there up are compared. None where the server did not keep to the order.
    """

    heads: dict[str, int]
    below: str | None


async def behind(
    database: Database,
    groups: Collection[int],
    projection_version: int,
    resumed: Mapping[int, str] = _NOWHERE,
) -> AsyncGenerator[Page, None]:
    """Pages of the groups' streams whose document is missing, behind, or made by an older fold.

    Of `resumed` groups only the streams below. A page may be empty, so that the caller gets its turn. Only what had a
    majority when this was called is certain to be seen: put a barrier before it.
    """
    below = {slot: resumed.get(group) for group in groups for slot in group_slots(group)}
    start = max(resumed.values()) if resumed and resumed.keys() >= set(groups) else None
    begin: list[Document] = [] if start is None else [{"$match": {"stream_id": {"$lt": start}}}]
    cursor = await ServerCursor.open(database.course_events, [*begin, *HIGHEST_VERSIONS])
    last, ordered = start, True
    try:
        while not cursor.exhausted:
            rows = await cursor.next_batch(STREAMS_PER_PAGE)
            streams = [row["_id"] for row in rows]
            ordered = ordered and _descending(last, streams)
            last = streams[-1] if streams else last
            heads = {row["_id"]: row["version"] for row in rows if _wanted(row["_id"], below)}
            heads = await _older(database, heads, projection_version) if heads else {}
            yield Page(heads, last if ordered else None)
    finally:
        await cursor.close()


def _wanted(stream: str, below: Mapping[int, str | None]) -> bool:
    slot = stream_slot(stream)
    if slot not in below:
        return False
    end = below[slot]
    return end is None or stream < end


def _descending(last: str | None, streams: Sequence[str]) -> bool:
    """True while the order holds: grouping promises none, it comes with the index."""
    return all(after < before for before, after in pairwise([last, *streams] if last else streams))


async def _older(database: Database, heads: Mapping[str, int], projection_version: int) -> dict[str, int]:
    identities = {stream_object_id(stream): stream for stream in heads}
    query = {"_id": {"$in": list(identities)}}
    # One that cannot be read is behind, whatever it says: folding makes it again.
    found = await reading.find(database.user_progress, query, {"version": 1, "projection_version": 1})
    current = {
        identities[document["_id"]]
        for document in found.documents
        if number_in(document, "version") >= heads[identities[document["_id"]]]
        and number_in(document, "projection_version") >= projection_version
    }
    return {stream: version for stream, version in heads.items() if stream not in current}
