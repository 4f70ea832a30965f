"""Items that a thread reads ahead: all of them, in their order, as soon as they are there, and never too many."""

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from itertools import count
from queue import Queue

import pytest

from tests.support.waiting import until
from worker.read_ahead import THREAD, read_ahead


async def everything(chunks: AsyncIterator[list[int]]) -> list[int]:
    return [item async for chunk in chunks for item in chunk]


@pytest.mark.parametrize("number", [0, 1, 7, 8, 9, 1_000])
async def test_all_come_in_their_order_and_never_more_at_once_than_asked_for(number: int) -> None:
    sizes: list[int] = []
    come: list[int] = []
    async for chunk in read_ahead(range(number), 8):
        sizes.append(len(chunk))
        come += chunk
    assert come == list(range(number))
    assert all(1 <= size <= 8 for size in sizes)


async def test_what_has_come_is_handed_on_while_the_next_is_waited_for() -> None:
    pipe: Queue[int | None] = Queue()
    async with aclosing(read_ahead(iter(pipe.get, None), 8)) as chunks:
        for number in range(3):
            pipe.put(number)
            assert await anext(chunks) == [number]
        pipe.put(None)
        assert await everything(chunks) == []


async def test_an_error_of_the_source_comes_behind_what_came_before_it() -> None:
    def broken() -> Iterator[int]:
        yield from range(5)
        raise OSError("the disk")

    chunks, come = read_ahead(broken(), 8), list[int]()
    while len(come) < 5:
        come += await anext(chunks)
    assert come == [0, 1, 2, 3, 4]
    with pytest.raises(OSError, match="the disk"):
        await anext(chunks)


async def test_who_leaves_early_has_no_more_read_than_was_asked_for_and_the_thread_ends() -> None:
    read: list[int] = []

    def endless() -> Iterator[int]:
        for number in count():
            read.append(number)
            yield number

    async with aclosing(read_ahead(endless(), 8)) as chunks:
        await anext(chunks)
        [reader] = [each for each in threading.enumerate() if each.name == THREAD]
        await until(lambda: len(read) >= 9, "it has read ahead")
    await until(lambda: not reader.is_alive(), "its thread ends")
    assert len(read) <= 8 + 8 + 2  # handed on, read ahead, at hand, and the one that finds that nobody waits
