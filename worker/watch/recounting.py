"""Sums and read models made again: all of them, collection by collection, or those that some streams are a part of.

What was counted is compared with what it was counted of, and every sum is taken over all that is counted, within the
same transactions as live counting, so that both may go on side by side.
"""

from collections import Counter as Tally
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeAlias

from bson import ObjectId

from projections.kinds import Catalogue
from worker.contract.identity import stream_object_id
from worker.storage.stream_selection import StreamSelection
from worker.watch.contests.contenders import Contenders
from worker.watch.folds.refold import Refold
from worker.watch.models.views import Views
from worker.watch.roles import contenders, counters, model_views
from worker.watch.sums.catch_up import pages
from worker.watch.sums.counting import Counter
from worker.watch.sums.runner import Dependencies

# Documents between two checkpoints; some tenths of a second of reading where nothing differs.
_PER_PAGE = 1_000
# Of a projection's parts the last: what it still shows of documents that are no more. It lies in no collection.
_GONE = ("", "")

Kept: TypeAlias = Counter | Views | Contenders


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a walk over everything: a collection as one projection has it, and the document passed last.

    `last` is None before the first document. The collection is "" at what is gone, behind all others.
    """

    projection: str
    collection: str = ""
    last: ObjectId | None = None


@dataclass(frozen=True, slots=True)
class Recounted:
    """What one step did: so many `documents` were looked at, `failed` of them quarantined; what was written where."""

    documents: int
    failed: int
    changed: Mapping[str, int]


class Recount:
    """Makes again what the projections of these names keep. Not safe to use from two tasks at once.

    `given.trial`: it only says what it would write. `refold` brings back records that are lost.
    """

    def __init__(
        self,
        given: Dependencies,
        notify_within: timedelta,
        names: Iterable[str],
        refold: Refold | None = None,
    ) -> None:
        wanted = set(names)
        kept: list[Kept] = [
            *counters(given, notify_within, refold=refold, doubting=True).values(),
            *model_views(given, doubting=True),
            *contenders(given, doubting=True),
        ]
        self._given = given
        self._kept: dict[str, Kept] = {each.name: each for each in kept if each.name in wanted}
        self._streams = {each.target.collection: each for each in given.database.catalogue.streams}

    async def everything(self, after: Place | None) -> AsyncGenerator[tuple[Place, Recounted]]:
        """Walk over all that the projections count, keep and show, from a place on; what is told of is done.

        Sums first, in the order of the catalogue, then read models, which may be made of them, then contests.
        """
        parts = [
            (Place(name, collection), each, kind)
            for name, each in self._kept.items()
            for collection, kind in [*each.walked, _GONE]
        ]
        begun = None if after is None else replace(after, last=None)
        first = next((number for number, (place, *_) in enumerate(parts) if place == begun), None)
        for number, (place, each, kind) in enumerate(parts):
            if first is not None and (number < first or (number == first and place.collection == _GONE[0])):
                continue  # what is gone is one step: it is done
            start = after.last if after is not None and number == first else None
            async for step in self._walk(each, replace(place, last=start), kind):
                yield step

    async def streams(self, streams: Sequence[str]) -> Recounted:
        """What was counted of these streams, and every sum and view that they are a part of."""
        documents = failed = 0
        for each in self._kept.values():
            for collection, kind in each.walked:
                source = self._streams.get(collection)
                if source is None:
                    continue
                identities = [stream_object_id(stream) for stream in streams if source.folds(stream)]
                failed += await each.remake(kind, identities)
                documents += len(identities)
                for shown, keys in (await each.concerned(identities)).items():
                    failed += await each.remake(shown, keys)
        return Recounted(documents, failed, self._changed())

    async def named(self, selection: StreamSelection) -> Recounted:
        """The sums of the course and the learner that a selection names, whether they have a stream or not."""
        named = {"course_id": selection.course, "user_id": selection.learner}
        failed = 0
        for each in self._kept.values():
            for key, kind in each.keyed.items():
                if (identity := named.get(key)) is not None:
                    failed += await each.remake(kind, [ObjectId(identity)])
        return Recounted(0, failed, self._changed())

    async def targets(self, collection: str, identities: Iterable[Any]) -> Recounted:
        """Documents of one collection: what is counted of them or in them, and the sums or views that they show."""
        some, failed = list(identities), 0
        for each in self._kept.values():
            for name, kind in each.walked:
                failed += await each.remake(kind, some) if name == collection else 0
        return Recounted(len(some), failed, self._changed())

    async def _walk(self, each: Kept, place: Place, kind: str) -> AsyncGenerator[tuple[Place, Recounted]]:
        if place.collection == _GONE[0]:
            failed = 0
            for gone in sorted(await each.gone(), key=str):
                failed += await each.remake(gone[0], [gone[1]])
            yield place, Recounted(0, failed, self._changed())
            return
        handle = self._given.database.collection(place.collection)
        async for page in pages(handle, after=place.last, most=_PER_PAGE):
            failed = await each.remake(kind, await each.unseen(place.collection, page))
            yield replace(place, last=max(page)), Recounted(len(page), failed, self._changed())

    def _changed(self) -> Mapping[str, int]:
        changed: Tally[str] = Tally()
        for each in self._kept.values():
            changed.update(each.take_changed())
        return changed


def counted_names(catalogue: Catalogue) -> list[str]:
    """The projections that can be counted again: sums, read models, and contests."""
    kinds = (catalogue.sums, catalogue.models, catalogue.contests)
    return [each.name for kind in kinds for each in kind]
