"""What jobs over streams have in common: which streams they are about, and several parts of them side by side."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import JsonValue

from worker.contract.identity import stream_slot
from worker.jobs.context import JobContext
from worker.jobs.job import JobArguments
from worker.storage.leases import slot_group
from worker.storage.stream_selection import StreamSelection
from worker.timing import cancel_and_wait_shielded

T = TypeVar("T")


class SelectedStreams(JobArguments):
    """Of all streams those that `of` selects."""

    of: StreamSelection = StreamSelection()

    @property
    def selection(self) -> Mapping[str, JsonValue]:
        """What is selected, without what is not said."""
        said: dict[str, JsonValue] = self.of.model_dump(mode="json", exclude_defaults=True)
        return said


def by_slot_group(streams: Iterable[str], parts: int) -> list[list[str]]:
    """The streams in so many parts at most, those of one group of slots in one of them."""
    groups: dict[int, list[str]] = {}
    for stream in streams:
        groups.setdefault(slot_group(stream_slot(stream)) % parts, []).append(stream)
    return list(groups.values())


async def side_by_side(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What each gives. After a failure the others have ended, too, when it is raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return [await task for task in tasks]
    finally:
        await cancel_and_wait_shielded(*tasks)


def barrier_of(context: JobContext) -> Callable[[], Awaitable[None]]:
    """Returns once everything that was stored before has a majority: a save of the run has one."""

    async def barrier() -> None:
        await context.total(context.progress.total)

    return barrier
