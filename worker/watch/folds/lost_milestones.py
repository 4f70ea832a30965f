"""By whom milestones are met again that a damaged document has lost: nobody may be told of them twice, or never."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import get_args

from projections.counts.learner import Kind
from projections.kinds import StreamProjection
from worker.contract.identity import stream_object_id, stream_slot
from worker.storage import reading
from worker.storage.database import Collection, Database, Document
from worker.storage.leases import group_name, slot_group
from worker.storage.outbox import LATE, REMADE, notification_id
from worker.storage.resume_tokens import token_time_s
from worker.storage.shares import GROUPS
from worker.watch.folds.executor import EVENTS

# An event is stored seconds after it was stamped, by another clock than the server's.
_STORED_WITHIN = timedelta(seconds=60)
_EVENT_INDEX = [("stream_id", 1), ("version", 1)]


async def met_by_replay(
    database: Database, projection: StreamProjection, heads: Mapping[str, int]
) -> set[str]:
    """The streams whose lost milestones a replay meets, so that nobody is told of them; a retry meets all others.

    Where the outbox has a row it says who met the milestone. Where it has none for a stream without a document, and
    everything that is stored of the stream was folded live before, the row is lost as well: nothing is sent again.
    """
    rows = await _rows(database, heads)
    silent = {stream for stream, row in rows.items() if _is_silent(row)}
    without = heads.keys() - rows.keys()
    lost = without - await with_document(database.collection(projection.target.collection), without)
    return silent | await _folded_live(database, {stream: heads[stream] for stream in lost})


async def _rows(database: Database, streams: Iterable[str]) -> dict[str, Document]:
    names = {notification_id(kind, stream): stream for stream in streams for kind in get_args(Kind)}
    paths = dict.fromkeys(("status", "channel", "last_error"), 1)
    found = await reading.find(database.notifications, {"_id": {"$in": list(names)}}, paths)
    return {names[row["_id"]]: row for row in sorted(found.documents, key=_is_silent)}


def _is_silent(row: Document) -> bool:
    """A row that was never to be sent, and not for its age."""
    unsent = row.get("status") == "suppressed" and row.get("channel") is None
    return unsent and row.get("last_error") not in (LATE, REMADE)


async def with_document(collection: Collection, streams: Iterable[str]) -> set[str]:
    """Those of the streams that have a document, whatever it says."""
    by_id: dict[object, str] = {stream_object_id(stream): stream for stream in streams}
    found = await reading.find(collection, {"_id": {"$in": list(by_id)}}, {"_id": 1})
    there = [*(row["_id"] for row in found.documents), *(one.id for one in found.unreadable)]
    return {by_id[identity] for identity in there if identity in by_id}


async def _folded_live(database: Database, heads: Mapping[str, int]) -> set[str]:
    """Those that were recorded before the moment up to which the follower of their group has folded everything."""
    if not heads:
        return set()
    names = {group_name(EVENTS, group): group for group in range(GROUPS)}
    rows = await reading.find(database.projection_state, {"_id": {"$in": list(names)}}, {"token": 1})
    folded_to = {names[row["_id"]]: token_time_s(row.get("token")) or 0 for row in rows.documents}
    last = [{"stream_id": stream, "version": version} for stream, version in heads.items()]
    paths = {"stream_id": 1, "recorded_at": 1}
    events = await reading.find(database.course_events, {"$or": last}, paths, hint=_EVENT_INDEX)
    return {
        event["stream_id"]
        for event in events.documents
        if isinstance(event.get("recorded_at"), datetime)
        and event["recorded_at"] + _STORED_WITHIN < _moment(folded_to, event["stream_id"])
    }


def _moment(folded_to: Mapping[int, int], stream: str) -> datetime:
    return datetime.fromtimestamp(folded_to.get(slot_group(stream_slot(stream)), 0), UTC)
