"""The retry of failed folds: streams that items of the queue name are folded again."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from worker.contract.identity import stream_id
from worker.storage.work_items import FROM_FIRST, Failed, Item, ItemId, Postponed, Verdict
from worker.watch.folds.fold import Failure
from worker.watch.folds.refold import Refold, RefoldResult

Skip = Callable[[Item, Failure], Awaitable[bool]]
"""Gives up the event at which a stream's fold fails.

True if its version is skipped from now on, and the item due again for what comes after it.
"""


async def never(_item: Item, _failure: Failure) -> bool:
    """A stream that fails waits for somebody."""
    return False


@dataclass(frozen=True, slots=True)
class FoldHandler:
    """Folds the streams that items name. Keyed by stream and guarded by `rev`, so that it may run twice.

    `doubting`: the learner's document is compared with all of its events, and replaced where it differs. `skip` is
    asked about each event at which a fold fails.
    """

    refold: Refold
    doubting: bool = False
    skip: Skip = never

    async def __call__(self, items: Sequence[Item]) -> dict[ItemId, Verdict]:
        """What could not be folded. Raises Retryable while MongoDB is away."""
        streams = {item.id: stream_of(item) for item in items}
        named = {stream for stream in streams.values() if stream is not None}
        doubtful = {streams[item.id] for item in items if self.doubting or item.data.get(FROM_FIRST)}
        result = await self.refold(sorted(named - doubtful), sorted(named & doubtful))
        verdicts = {item.id: await self._verdict(item, streams[item.id], result) for item in items}
        return {identity: verdict for identity, verdict in verdicts.items() if verdict is not None}

    async def _verdict(self, item: Item, stream: str | None, result: RefoldResult) -> Verdict | None:
        if stream is None:
            return Failed("ValueError", "the item names no learner and course")
        if (failure := result.failed.get(stream)) is not None:
            if await self.skip(item, failure):
                return None
            # The `data` of an item that the platform has put there is its own.
            said = _said(item, failure) if item.stream_id and not self.doubting else None
            return Failed(failure.error_class, failure.message, failure.version, said)
        if stream in result.foreign:
            return Postponed("the document was made by a newer fold")
        return None


def _said(item: Item, failure: Failure) -> Mapping[str, Any]:
    """What an item says of its failure, and that its stream is to be folded from the first event until it is."""
    return {**failure.data, **({FROM_FIRST: True} if item.data.get(FROM_FIRST) else {})}


def stream_of(item: Item) -> str | None:
    """The stream an item is about: its own, or that of the learner and course in the platform's data."""
    if item.stream_id:
        return item.stream_id
    user, course = (_object_id(item.data.get(name)) for name in ("user_id", "course_id"))
    return None if user is None or course is None else stream_id(course, user)


def _object_id(value: object) -> ObjectId | None:
    if isinstance(value, ObjectId):
        return value
    return ObjectId(value) if isinstance(value, str) and ObjectId.is_valid(value) else None
