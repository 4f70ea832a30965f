"""Rows behind the event store: one write at a time, in order, and never before those of the batch before."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from worker.ingest.record import BatchOutcome
from worker.ingest.write_behind import SeriesWriteBehind
from worker.timing import cancel_and_wait


class Sink:
    """Takes writes one at a time; each ends when it is let."""

    def __init__(self) -> None:
        self.begun: list[Sequence[Any]] = []
        self.busy = 0
        self.let = asyncio.Semaphore(0)

    async def write(self, outcome: BatchOutcome) -> None:
        self.busy += 1
        assert self.busy == 1, "two writes at a time"
        self.begun.append(list(outcome.stored))
        await self.let.acquire()
        self.busy -= 1


def part(*names: Any) -> BatchOutcome:
    return BatchOutcome(stored=list(names))


async def turns() -> None:
    """Everything that can go on without an answer has gone on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def held_back() -> tuple[Sink, asyncio.Event, asyncio.Task[None], SeriesWriteBehind]:
    """A part that waits for the batch before, which the event lets end."""
    sink, gate = Sink(), asyncio.Event()
    before = asyncio.create_task(_opened(gate))
    rows = SeriesWriteBehind(sink.write, before)
    rows.add(part("a"))
    await turns()
    return sink, gate, before, rows


async def test_parts_that_are_stored_during_a_write_are_written_together() -> None:
    sink = Sink()
    rows = SeriesWriteBehind(sink.write)
    rows.add(part("a"))
    await turns()
    rows.add(part("b"))
    rows.add(part("c"))
    sink.let.release()
    await turns()
    assert sink.begun == [["a"]], "the next write begins with the next part, or at the end"
    rows.add(part("d"))
    finishing = asyncio.create_task(rows.finish())
    await turns()
    assert sink.begun == [["a"], ["b", "c", "d"]]
    assert not finishing.done()
    sink.let.release()
    await finishing


async def test_the_first_write_waits_for_the_batch_before() -> None:
    sink, gate, _, rows = await held_back()
    assert sink.begun == []
    gate.set()
    sink.let.release()
    await rows.finish()
    assert sink.begun == [["a"]]


async def test_rows_are_not_written_when_the_batch_before_has_failed() -> None:
    sink = Sink()
    rows = SeriesWriteBehind(sink.write, asyncio.create_task(_failed()))
    rows.add(part("a"))
    with pytest.raises(ValueError, match="the batch before"):
        await rows.finish()
    assert sink.begun == []


async def test_a_failed_write_is_raised_by_the_next_part() -> None:
    async def write(_outcome: BatchOutcome) -> None:
        raise ValueError("this one")

    rows = SeriesWriteBehind(write)
    rows.add(part("a"))
    await turns()
    with pytest.raises(ValueError, match="this one"):
        rows.add(part("b"))


async def test_what_is_given_up_goes_no_further_and_leaves_the_batch_before_alone() -> None:
    sink, gate, before, rows = await held_back()
    await cancel_and_wait(*rows.tasks)
    assert not before.done()
    gate.set()
    await before
    assert sink.begun == []


async def _opened(gate: asyncio.Event) -> None:
    await gate.wait()


async def _failed() -> None:
    raise ValueError("the batch before")
