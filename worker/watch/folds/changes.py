"""The change stream of folding: which streams moved, and to which version."""

from collections.abc import Iterable, Sequence

from worker.storage.database import Database, Document
from worker.storage.leases import Token
from worker.watch.stream.change_stream import ChangeStream
from worker.watch.stream.resume_token import token_moment


async def follow_events(database: Database, slots: Iterable[int], after: Token | None) -> ChangeStream:
    """Open the stream of the inserts into some slots of `course_events`. Raises HistoryLost (see `ChangeStream`)."""
    return await ChangeStream.open(database.course_events, _pipeline(slots, after), after=after)


def _pipeline(slots: Iterable[int], after: Token | None) -> list[Document]:
    # By time, not by token: a token may be that of one event, and a stream that filters this event out, because its
    # slot is another worker's now, cannot resume after it (code 280). Time is inclusive; repeats are harmless.
    moment = None if after is None else token_moment(after)
    start: Document = {} if moment is None else {"startAtOperationTime": moment}
    return [
        {"$changeStream": start},
        {"$match": {"operationType": "insert", "fullDocument.slot": {"$in": list(slots)}}},
        {"$project": {"stream_id": "$fullDocument.stream_id", "version": "$fullDocument.version"}},
    ]


def highest(changes: Sequence[Document]) -> dict[str, int]:
    """The highest version of each stream among the changes; those that name no stream or version are left out."""
    heads: dict[str, int] = {}
    for change in changes:
        stream, version = change.get("stream_id"), change.get("version")
        if isinstance(stream, str) and isinstance(version, int) and version > heads.get(stream, 0):
            heads[stream] = version
    return heads
