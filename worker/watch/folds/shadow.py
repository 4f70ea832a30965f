"""A projection's documents built beside the live ones, by the same fold or another, to be looked at first.

Each stands under the `_id` of the live one in a collection of its own, and says in `built` what it was compared with:
the revision of the live document, None where there was none, and the paths that differ. Parts stand likewise beside
the live parts (`shadow_parts`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo import ReplaceOne
from pymongo.errors import BulkWriteError

from projections.kinds import By, StreamProjection
from worker.contract.identity import stream_object_id
from worker.errors import Misconfigured
from worker.storage import reading
from worker.storage.database import Collection, Database, Document
from worker.storage.encoding import encoded, same
from worker.storage.errors import translated, write_failures
from worker.storage.stream_parts import PartsFailed
from worker.watch.folds.catch_up import highest_versions
from worker.watch.folds.dependencies import FoldDependencies
from worker.watch.folds.fold import Failure, Folded, failure_at, not_adopted
from worker.watch.folds.lost_milestones import met_by_replay, with_document
from worker.watch.folds.parts import PartsWriter
from worker.watch.folds.rebuild import DocumentRebuild
from worker.watch.folds.shadow_parts import ShadowParts

NAME = r"^[a-z0-9][a-z0-9_]{0,31}$"
"""What can be the name under which documents are built."""
EXAMPLES = 20
"""Of all documents that differ so many are shown."""

# Of one document so many places that differ are shown.
_PLACES_SHOWN = 12
# What differs in every document that was folded another time says nothing.
_UNSEEN = frozenset({"recorded_at"})


@dataclass(slots=True)
class Difference:
    """What is built, compared with what is live. `missing` streams have no live document."""

    streams: int = 0
    events: int = 0
    differing: int = 0
    missing: int = 0
    failed: list[Failure] = field(default_factory=list)
    paths: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def take(self, folded: Folded, differs: Mapping[str, Any], *, parts: bool) -> None:
        """One document, with the paths that differ; `parts`: some of its parts do."""
        self.events += folded.count
        self.differing += bool(differs) or parts
        live = folded.task.document
        self.missing += live is None
        if live is None or not (differs or parts):
            return
        self.paths.update([*differs, *(["parts"] if parts else [])])
        if len(self.examples) < EXAMPLES:
            places = {
                path: place
                for name in differs
                for path, place in _places(name, live.get(name), differs[name])
            }
            shown = dict(list(places.items())[:_PLACES_SHOWN])
            self.examples.append({"stream": folded.task.stream, "places": shown})


class Shadow:
    """Builds under a name what a projection would be by a fold: `made_by`, which may be the projection itself.

    May run twice, and beside live projectors.
    """

    def __init__(self, given: FoldDependencies, made_by: StreamProjection, name: str) -> None:
        self.projection = made_by
        database, projection = given.database, given.projection
        self.live: Collection = database.collection(projection.target.collection)
        self.collection = shadow_collection(database, projection, name)
        self._database = database
        self._replaced = projection
        self._clock = given.clock
        self._rebuild = DocumentRebuild(replace(given, projection=made_by))
        self.parts: ShadowParts | None = None
        if made_by.parts is not None:
            writer = PartsWriter(replace(given, projection=made_by), made_by.parts)
            beside = writer.collection.database.get_collection(f"{writer.collection.name}__{name}")
            self.parts = ShadowParts(writer, beside)

    async def build(self, streams: Sequence[str]) -> Difference:
        """Fold each stream as far as its live document has come, compare, and store.

        A milestone that the live document does not tell of is met by a replay: it is not announced once this is
        promoted. Of a stream without a live document it is as in a rebuild: as the outbox says.
        """
        heads = await highest_versions(self._database, streams)
        difference = Difference(streams=len(heads))
        present = await with_document(self.live, heads)
        missing = {stream: heads[stream] for stream in heads if stream not in present}
        replayed = present | await met_by_replay(self._database, self._replaced, missing)
        parts: list[tuple[By, set[str]]] = [("replay", replayed), ("retry", heads.keys() - replayed)]
        for by, some in parts:
            await self._build({stream: heads[stream] for stream in heads if stream in some}, by, difference)
        return difference

    async def stored(self, streams: Iterable[str]) -> list[Document]:
        """What is built of these streams."""
        wanted = {"_id": {"$in": [stream_object_id(stream) for stream in streams]}}
        return (await reading.find(self.collection, wanted)).documents

    async def drop(self) -> None:
        """Begin anew: what was built under this name before is gone."""
        with translated():
            await self.collection.drop()
        if self.parts is not None:
            await self.parts.begin()

    async def _build(self, heads: Mapping[str, int], by: By, difference: Difference) -> None:
        writes: list[ReplaceOne[Document]] = []
        now = self._clock.now()
        async for folded in self._rebuild.projector(by, difference.failed).preview(heads):
            if folded.failure is not None:
                difference.failed.append(folded.failure)
            elif folded.theirs:
                difference.failed.append(not_adopted(folded))
            elif folded.fields is not None and not folded.unbegun:
                differs = _differing(folded)
                try:
                    parts = self.parts is not None and await self.parts.build(folded, now)
                except PartsFailed as failed:
                    difference.failed.append(failure_at(folded.task.stream, failed.event, failed.error))
                    continue
                difference.take(folded, differs, parts=parts)
                writes.append(_built(folded, [*differs], now, parts=parts))
        if writes:
            try:
                with translated():
                    await self.collection.bulk_write(writes, ordered=False)
            except BulkWriteError as error:
                codes = sorted({failure.code for failure in write_failures(error)})
                raise Misconfigured(
                    f"{self.collection.name} refuses what is built: {codes}; drop it, or take another name"
                ) from None


def shadow_collection(database: Database, projection: StreamProjection, name: str) -> Collection:
    """Where documents of a projection are built under a name."""
    target = projection.target
    home = database.home(target.collection)
    return home.get_collection(f"{target.collection}__{name}")


def _built(folded: Folded, differs: Sequence[str], now: datetime, *, parts: bool) -> ReplaceOne[Document]:
    identity, live = stream_object_id(folded.task.stream), folded.task.document
    document = {
        "_id": identity,
        **(folded.fields or {}),
        "built": {
            "from_rev": None if live is None else live.get("rev"),
            "differs": list(differs),
            "parts_differ": parts,
            "at": now,
        },
    }
    whole = encoded(document)
    return ReplaceOne({"_id": identity}, document if whole is None else whole, upsert=True)


def _differing(folded: Folded) -> dict[str, Any]:
    """The paths in which the live document is not what was folded, but for those that say nothing."""
    live, fields = (folded.by_path(each or {}) for each in (folded.task.document, folded.fields))
    return {
        name: value
        for name, value in fields.items()
        if name not in _UNSEEN and not (name in live and same(live[name], value))
    }


def _places(path: str, live: Any, built: Any) -> list[tuple[str, dict[str, Any]]]:
    """The innermost places that differ, each with both values as they may be shown."""
    if isinstance(live, Mapping) and isinstance(built, Mapping):
        names = [*built, *(name for name in live if name not in built)]
        return [
            place for name in names for place in _places(f"{path}.{name}", live.get(name), built.get(name))
        ]
    if isinstance(live, list) and isinstance(built, list) and len(live) == len(built):
        pairs = enumerate(zip(live, built, strict=True))
        return [place for number, pair in pairs for place in _places(f"{path}.{number}", *pair)]
    return [] if same(live, built) else [(path, {"live": _shown(live), "built": _shown(built)})]


def _shown(value: Any) -> Any:
    """Numbers, dates and ids as they are; of texts, which may be a learner's, only how long they are."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, str):
        return f"a text of {len(value)} letters"
    return (
        f"{type(value).__name__} of {len(value)}" if isinstance(value, list | Mapping | bytes) else "a value"
    )
