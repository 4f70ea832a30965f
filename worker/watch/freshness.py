"""How far live projections lag behind the event store, measured from outside: by whether the newest events are shown.

It needs nothing but the two collections: a few of the newest events are remembered, and looked for in the documents
of their streams until they stand there. What nobody is about to show does not count: events of streams that are
quarantined, or whose document a newer release made, streams that may have no document at all (of a course without
versions there is no history of them), and everything while no worker follows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from projections.kinds import StreamProjection, by_kind
from worker.contract.identity import stream_object_id
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.work_items import OPEN, fold_item_id
from worker.timing import Clock
from worker.watch.folds.plan import number_in

# Enough for a vote among streams.
_SAMPLED = 8
_WATCHER = "progress"


@dataclass(frozen=True, slots=True)
class _Sample:
    """Streams whose newest event was not shown, with its version, and when that was seen."""

    heads: Mapping[str, int]
    taken_at: float


class Freshness:
    """Measures the lag of the stream projections of `database`'s catalogue. Two or three small reads each time."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._sample: _Sample | None = None

    async def behind_s(self) -> float:
        """For how long most of the events that were not shown at some look before have not been shown; 0 if they are.

        Never more than the lag, and less by the time between two calls at most.
        """
        sample = self._sample
        if sample is not None and await self._late(sample) and await self.followed():
            return self._clock.monotonic() - sample.taken_at
        newest = await self._newest()
        waiting = await self.missing(newest)
        self._sample = _Sample({stream: newest[stream] for stream in waiting}, self._clock.monotonic())
        return 0.0

    async def missing(self, heads: Mapping[str, int]) -> set[str]:
        """Streams whose document does not show this version, and that somebody could bring up to it."""
        missing: set[str] = set()
        kinds = by_kind(heads)
        for projection in self._database.catalogue.streams:
            if folded := kinds.get(projection.about):
                missing |= await self._not_shown(projection, folded)
        return missing

    async def followed(self) -> bool:
        """Whether a worker lives that would show them."""
        lives: Document = {
            "kind": "group",
            "_id": {"$regex": f"^{_WATCHER}:"},
            "$expr": {"$gt": ["$expires_at", "$$NOW"]},
        }
        return await reading.find_one(self._database.leases, lives, {"_id": 1}) is not None

    async def _late(self, sample: _Sample) -> bool:
        """Most of them: a stream that stands still for a reason of its own is outvoted by the others."""
        return bool(sample.heads) and len(await self.missing(sample.heads)) * 2 > len(sample.heads)

    async def _newest(self) -> dict[str, int]:
        found = await reading.find(
            self._database.course_events,
            {},
            {"stream_id": 1, "version": 1},
            sort=[("$natural", -1)],  # as they were inserted
            limit=_SAMPLED,
        )
        heads: dict[str, int] = {}
        for event in found.documents:
            stream = event.get("stream_id")
            if isinstance(stream, str):
                heads[stream] = max(heads.get(stream, 0), number_in(event, "version"))
        return heads

    async def _not_shown(self, projection: StreamProjection, heads: Mapping[str, int]) -> set[str]:
        names = {stream_object_id(stream): stream for stream in heads}
        found = await reading.find(
            self._database.collection(projection.target.collection),
            {"_id": {"$in": list(names)}},
            {"version": 1, "projection_version": 1},
        )
        stored = {names[document["_id"]]: document for document in found.documents}
        missing = {
            stream
            for stream, document in stored.items()
            if number_in(document, "version") < heads[stream]
            and number_in(document, "projection_version") <= projection.version
        }
        if not projection.may_be_absent:
            missing |= heads.keys() - stored.keys()
        return missing - await self._quarantined(projection, missing) if missing else missing

    async def _quarantined(self, projection: StreamProjection, streams: set[str]) -> set[str]:
        items = {fold_item_id(stream, projection.name): stream for stream in streams}
        waiting: Document = {"_id": {"$in": list(items)}, "status": {"$in": list(OPEN)}}
        found = await reading.find(self._database.analytics_queue, waiting, {"_id": 1})
        return {items[item["_id"]] for item in found.documents}
