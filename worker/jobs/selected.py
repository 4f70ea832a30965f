"""What jobs over streams have in common: which streams they are about, and several parts of them side by side."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import JsonValue

from projections.kinds import StreamProjection
from worker.contract.identity import stream_slot
from worker.jobs.context import JobContext
from worker.jobs.job import JobArguments
from worker.storage.leases import slot_group
from worker.storage.stream_selection import StreamSelection
from worker.timing import cancel_and_wait_shielded
from worker.watch.folds.dependencies import FoldDependencies

T = TypeVar("T")

STREAMS_A_STEP = 100
"""Of a job that writes: a second of work at most, a transaction that holds few others up, and few documents that live
counting finds changed at once. After each of them the run saves its place, lets live work pass, and hears who
wants it to pause."""


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


def folding(context: JobContext, projection: StreamProjection, code_version: str) -> FoldDependencies:
    """What folds of a projection work with in a run."""
    return FoldDependencies(
        context.database,
        projection,
        context.clock,
        context.metrics,
        _barrier_of(context),
        context.keep_alive,
        code_version,
    )


def _barrier_of(context: JobContext) -> Callable[[], Awaitable[None]]:
    """Returns once everything that was stored before has a majority: a save of the run has one."""

    async def barrier() -> None:
        await context.total(context.progress.total)

    return barrier
