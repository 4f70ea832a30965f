"""Which streams are behind: the event store compared with the documents, page by page, in one pass.

For when the change stream cannot tell: history lost, no position, or a fold of another version.
"""

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from projections.kinds import StreamProjection, by_kind
from worker.contract.identity import stream_object_id, stream_slot
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.leases import slot_group
from worker.storage.stream_versions import HIGHEST_VERSIONS, highest_of
from worker.watch.folds.plan import number_in
from worker.watch.stream.cursor import ServerCursor

# A page takes some 30 ms to compare, and its streams then fit into a few rounds of folding.
STREAMS_PER_PAGE = 5_000

_NOWHERE: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Compared:
    """By projection the streams to fold, with their highest versions; `below` is the last stream of the page.

    All streams from there up are compared. None where the server did not keep to the order.
    """

    heads: dict[str, dict[str, int]]
    below: str | None


async def behind(
    database: Database,
    projections: Sequence[StreamProjection],
    stale: Mapping[int, Collection[str]],
    resumed: Mapping[int, str] = _NOWHERE,
) -> AsyncGenerator[Compared, None]:
    """Pages of streams whose document is missing, behind, or made by an older fold.

    `stale` names the groups to compare, and of each the projections. Of `resumed` groups only the streams below. A
    page may be empty, so that the caller gets its turn. Only what had a majority when this was called is certain to
    be seen: put a barrier before it.
    """
    start = max(resumed.values()) if resumed and resumed.keys() >= stale.keys() else None
    begin: list[Document] = [] if start is None else [{"$match": {"stream_id": {"$lt": start}}}]
    cursor = await ServerCursor.open(database.course_events, [*begin, *HIGHEST_VERSIONS])
    last, ordered = start, True
    try:
        while not cursor.exhausted:
            rows = await cursor.next_batch(STREAMS_PER_PAGE)
            streams = [row["_id"] for row in rows if isinstance(row["_id"], str)]
            ordered = ordered and _descending(last, streams)
            last = streams[-1] if streams else last
            heads = by_kind(await _sound(database, rows))
            wanted = {
                each.name: {
                    stream: head
                    for stream, head in heads.get(each.about, {}).items()
                    if _wanted(stream, each.name, stale, resumed)
                }
                for each in projections
            }
            older = {each.name: await _older(database, each, wanted[each.name]) for each in projections}
            yield Compared(older, last if ordered else None)
    finally:
        await cursor.close()


async def highest_versions(database: Database, streams: Sequence[str]) -> dict[str, int]:
    """The highest stored version of each stream that has events."""
    return await _sound(
        database, (await reading.aggregate(database.course_events, highest_of(streams))).documents
    )


async def _sound(database: Database, rows: Iterable[Document]) -> dict[str, int]:
    """Streams and versions as only we write them: an event altered past its validator costs its own stream only."""
    named = {row["_id"]: row["version"] for row in rows if isinstance(row["_id"], str)}
    heads = {stream: version for stream, version in named.items() if number_in({"": version}, "")}
    if odd := named.keys() - heads.keys():
        numbers = {"stream_id": {"$in": list(odd)}, "version": {"$type": ["int", "long"]}}
        found = await reading.aggregate(database.course_events, [{"$match": numbers}, *HIGHEST_VERSIONS])
        heads |= {row["_id"]: row["version"] for row in found.documents}
    return heads


def _wanted(
    stream: str, projection: str, stale: Mapping[int, Collection[str]], resumed: Mapping[int, str]
) -> bool:
    group = slot_group(stream_slot(stream))
    end = resumed.get(group)
    return projection in stale.get(group, ()) and (end is None or stream < end)


def _descending(last: str | None, streams: Sequence[str]) -> bool:
    """True while the order holds: grouping promises none, it comes with the index."""
    return all(after < before for before, after in pairwise([last, *streams] if last else streams))


async def _older(
    database: Database, projection: StreamProjection, heads: Mapping[str, int]
) -> dict[str, int]:
    if not heads:
        return {}
    identities = {stream_object_id(stream): stream for stream in heads}
    # One that cannot be read is behind, whatever it says: folding makes it again.
    found = await reading.find(
        database.collection(projection.target.collection),
        {"_id": {"$in": list(identities)}},
        {"version": 1, "projection_version": 1},
    )
    current = {
        identities[document["_id"]]
        for document in found.documents
        if number_in(document, "version") >= heads[identities[document["_id"]]]
        and number_in(document, "projection_version") >= projection.version
    }
    return {stream: version for stream, version in heads.items() if stream not in current}
