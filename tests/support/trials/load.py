"""What goes on beside a trial: events arrive and are waited for, and readers look at documents."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from bench.figures import percentile
from tests.support.trials.history import History
from worker.contract.identity import stream_object_id
from worker.storage.database import Database
from worker.timing import cancel_and_wait

# Events come in small groups, as batches of ingest do.
_STORE_EVERY_S = 0.25
# Freshness is told to this much.
_LOOK_EVERY_S = 0.02
# Readers see thousands of documents a second, and leave the machine to the trial.
_READ_EVERY_S = 0.05
_READ_AT_ONCE = 200


@dataclass(slots=True)
class Seen:
    """How long each event took from being stored to being shown, and what readers missed."""

    freshness_s: list[float] = field(default_factory=list)
    reads: int = 0
    missed: int = 0
    went_back: int = 0

    def quantile_s(self, share: float) -> float:
        """By nearest rank; 0 where nothing was measured."""
        return percentile(self.freshness_s, share) if self.freshness_s else 0.0

    def to_json(self) -> Mapping[str, Any]:
        """Of how many streams freshness was measured, its quantiles, and what readers saw."""
        quantiles = {
            f"p{round(100 * share)}_s": round(self.quantile_s(share), 3) for share in (0.5, 0.95, 0.99)
        }
        longest_s = round(max(self.freshness_s, default=0.0), 3)
        readers = {"reads": self.reads, "missed": self.missed, "went_back": self.went_back}
        return {"measured": len(self.freshness_s), **quantiles, "longest_s": longest_s, **readers}


@dataclass(slots=True)
class Load:
    """A load under way: what happens is added to `seen`, which may be another one at any time.

    An event counts for the one that was there when it was stored, however long it then takes. `waiting` has by stream
    the version that is waited for, since when, and for which.
    """

    seen: Seen
    waiting: dict[str, tuple[int, float, Seen]] = field(default_factory=dict)


@asynccontextmanager
async def load(
    database: Database, history: History, known: Mapping[str, int], events_per_s: int, seen: Seen
) -> AsyncIterator[Load]:
    """So many events a second, and readers of the `known` streams' documents, while the block lasts."""
    under_way = Load(seen)
    tasks = [
        asyncio.create_task(_write(database, history, under_way, events_per_s)),
        asyncio.create_task(_watch(database, under_way)),
        asyncio.create_task(_read(database, known, under_way)),
    ]
    try:
        yield under_way
        for task in tasks:
            if task.done():
                task.result()
    finally:
        await cancel_and_wait(*tasks)


async def _write(database: Database, history: History, under_way: Load, events_per_s: int) -> None:
    due = time.monotonic()
    while True:
        heads = await history.store(database, max(1, round(events_per_s * _STORE_EVERY_S)))
        stored_at = time.monotonic()
        for stream, version in heads.items():
            under_way.waiting.setdefault(stream, (version, stored_at, under_way.seen))
        due += _STORE_EVERY_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _watch(database: Database, under_way: Load) -> None:
    waiting = under_way.waiting
    while True:
        by_id = {stream_object_id(stream): stream for stream in waiting}
        shown = await database.user_progress.find({"_id": {"$in": list(by_id)}}, {"version": 1}).to_list(None)
        now = time.monotonic()
        for document in shown:
            stream = by_id[document["_id"]]
            version, stored_at, seen = waiting[stream]
            if document["version"] >= version:
                seen.freshness_s.append(now - stored_at)
                del waiting[stream]
        await asyncio.sleep(_LOOK_EVERY_S)


async def _read(database: Database, known: Mapping[str, int], under_way: Load) -> None:
    """Every document that was there once is there, and never tells of fewer events than before."""
    random = Random(3)  # noqa: S311  # which to look at, not a secret
    versions = {stream_object_id(stream): version for stream, version in known.items()}
    identities = list(versions)
    while True:
        some = random.sample(identities, min(_READ_AT_ONCE, len(identities)))
        found = await database.user_progress.find({"_id": {"$in": some}}, {"version": 1}).to_list(None)
        seen = under_way.seen
        seen.reads += len(some)
        seen.missed += len(some) - len(found)
        for document in found:
            seen.went_back += document["version"] < versions[document["_id"]]
            versions[document["_id"]] = max(versions[document["_id"]], document["version"])
        await asyncio.sleep(_READ_EVERY_S)
