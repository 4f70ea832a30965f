"""The retry of failed folds: streams that items of the queue name are folded again."""

from collections.abc import Sequence
from dataclasses import dataclass

from bson import ObjectId

from worker.contract.identity import stream_id
from worker.storage.work_items import Failed, Item, ItemId, Postponed, Verdict
from worker.watch.folds.refold import Refold


@dataclass(frozen=True, slots=True)
class FoldHandler:
    """Folds the streams that items name. Keyed by stream and guarded by `rev`, so that it may run twice.

    `doubting`: the learner's document is compared with all of its events, and replaced where it differs.
    """

    refold: Refold
    doubting: bool = False

    async def __call__(self, items: Sequence[Item]) -> dict[ItemId, Verdict]:
        """What could not be folded. Raises Retryable while MongoDB is away."""
        streams = {item.id: stream_of(item) for item in items}
        named = sorted({stream for stream in streams.values() if stream is not None})
        result = await (self.refold((), named) if self.doubting else self.refold(named))
        verdicts: dict[ItemId, Verdict] = {}
        for identity, stream in streams.items():
            if stream is None:
                verdicts[identity] = Failed("ValueError", "the item names no learner and course")
            elif (failure := result.failed.get(stream)) is not None:
                verdicts[identity] = Failed(failure.error_class, failure.message, failure.version)
            elif stream in result.foreign:
                verdicts[identity] = Postponed("the document was made by a newer fold")
        return verdicts


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
