"""What one poll returns: what lay ready, what has come since, and nothing of an assignment that is over."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from worker.kafka.batch_bounds import BatchBounds
from worker.kafka.poller import PartitionPoller
from worker.kafka.record_batch import message_bytes
from worker.timing import SystemClock

P0, P1 = TopicPartition("events", 0), TopicPartition("events", 1)


@dataclass
class Message:
    offset: int
    value: bytes = b"value"
    key: bytes = b"key"
    headers: tuple[()] = ()


@dataclass
class Consumer:
    """aiokafka's, as far as a poll sees it: `ready` is given at once, `coming` to who waits, after `meanwhile`."""

    ready: dict[TopicPartition, list[Message]] = field(default_factory=dict)
    coming: dict[TopicPartition, list[Message]] | Exception = field(default_factory=dict)
    meanwhile: Callable[[], None] = lambda: None
    waits: list[int] = field(default_factory=list)
    sought: list[tuple[TopicPartition, int]] = field(default_factory=list)

    async def getmany(
        self, *_only: TopicPartition, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[Message]]:
        if timeout_ms and not self.ready:
            self.waits.append(timeout_ms)
            self.meanwhile()
            if isinstance(self.coming, Exception):
                raise self.coming
            self.ready, self.coming = self.coming, {}
        taken = {}
        for partition in list(self.ready):
            taken[partition] = self.ready[partition][:max_records]
            self.ready[partition] = self.ready[partition][max_records:]
            max_records -= len(taken[partition])
            if not self.ready[partition]:
                del self.ready[partition]
            if not max_records:
                break
        return taken

    def assignment(self) -> set[TopicPartition]:
        return {P0, P1}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.sought.append((partition, offset))


def _poller(consumer: Consumer) -> PartitionPoller:
    clock = SystemClock()
    return PartitionPoller(consumer, BatchBounds("127.0.0.1:1", {}, 1.0), clock, max_bytes=10_000_000)


async def _offsets(reader: PartitionPoller, max_records: int = 5_000) -> dict[TopicPartition, list[int]]:
    polled: Any = await reader.poll(max_records)
    return {partition: [message.offset for message in messages] for partition, messages in polled.items()}


def _messages(*offsets: int) -> list[Message]:
    return [Message(offset) for offset in offsets]


async def test_what_has_come_since_the_poll_before_is_part_of_this_one() -> None:
    consumer = Consumer(ready={P0: _messages(0)}, coming={P0: _messages(1, 2), P1: _messages(7)})
    assert await _offsets(_poller(consumer)) == {P0: [0, 1, 2], P1: [7]}
    [wait_ms] = consumer.waits
    assert wait_ms <= 20  # nobody waits half a second with records in hand


async def test_who_had_to_wait_for_the_first_record_does_not_wait_again() -> None:
    consumer = Consumer(coming={P0: _messages(0)})
    assert await _offsets(_poller(consumer)) == {P0: [0]}
    assert consumer.waits == [500]


async def test_nothing_at_all_is_an_empty_poll() -> None:
    consumer = Consumer()
    assert await _offsets(_poller(consumer)) == {}
    assert consumer.waits == [500]


async def test_a_poll_that_found_much_does_not_wait_for_more() -> None:
    consumer = Consumer(ready={P0: _messages(*range(700))}, coming={P0: _messages(700)})
    assert await _offsets(_poller(consumer)) == {P0: list(range(700))}
    assert consumer.waits == []


async def test_a_poll_takes_no_more_than_it_may() -> None:
    consumer = Consumer(ready={P0: _messages(0, 1)}, coming={P0: _messages(*range(2, 300))})
    reader = _poller(consumer)
    assert await _offsets(reader, 150) == {P0: list(range(150))}
    assert await _offsets(reader, 150) == {P0: list(range(150, 300))}


async def test_what_was_taken_under_an_assignment_that_ended_meanwhile_is_dropped() -> None:
    consumer = Consumer(ready={P0: _messages(40, 41)}, coming={P1: _messages(9)})
    reader = _poller(consumer)
    consumer.meanwhile = reader.forget
    assert await _offsets(reader) == {P1: [9]}
    reader.rewind()
    assert consumer.sought == [(P1, 10)]


async def test_an_error_comes_after_what_was_taken_before_it() -> None:
    error = KafkaConnectionError("no broker")
    consumer = Consumer(ready={P0: _messages(40, 41)}, coming=error)
    reader = _poller(consumer)
    assert await _offsets(reader) == {P0: [40, 41]}
    assert consumer.sought == [(P0, 42)]
    with pytest.raises(KafkaConnectionError) as caught:
        await reader.poll(5_000)
    assert caught.value is error


async def test_an_error_after_the_end_of_an_assignment_leaves_nothing_of_it() -> None:
    consumer = Consumer(ready={P0: _messages(40, 41)}, coming=KafkaConnectionError("no broker"))
    reader = _poller(consumer)
    consumer.meanwhile = reader.forget
    with pytest.raises(KafkaConnectionError):
        await reader.poll(5_000)
    assert consumer.sought == []


async def test_what_is_far_too_large_is_given_back_and_the_next_slices_are_smaller() -> None:
    large = [Message(offset, b"x" * 1_000_000) for offset in range(60)]
    consumer = Consumer(ready={P0: large[:30], P1: large[30:]})
    reader = _poller(consumer)
    assert await _offsets(reader) == {P0: list(range(10))}
    assert consumer.sought == [(P0, 10), (P1, 30)]
    consumer.ready, consumer.sought = {P0: large[10:30], P1: large[30:]}, []
    assert await _offsets(reader) == {P0: list(range(10, 20))}
    assert consumer.sought == []
    assert len(consumer.ready[P0]) == 10


async def test_one_record_is_always_taken_however_large_it_is() -> None:
    consumer = Consumer(ready={P0: [Message(0, b"x" * 20_000_000), Message(1)]})
    assert await _offsets(_poller(consumer)) == {P0: [0]}
    assert consumer.sought == [(P0, 1)]


def test_a_record_weighs_what_it_becomes_in_memory() -> None:
    assert message_bytes(Message(0, b"x" * 400, b"k" * 49)) == 449
    assert message_bytes(Message(0, b"[" + b"[]," * 20_000 + b"[]]", b"")) > 1_200_000
    usual = b'{"a":1,"b":[1,2,3],"text":"' + b"x" * 60_000 + b'"}'
    assert message_bytes(Message(0, usual, b"")) == len(usual)


@dataclass
class BusyConsumer:
    """Somebody writes to P0 whenever it is waited for; the first poll of all partitions meets a broken batch."""

    ends: dict[TopicPartition, int] = field(default_factory=lambda: {P0: 10, P1: 3})
    positions: dict[TopicPartition, int] = field(default_factory=lambda: {P0: 0, P1: 0})
    broken: bool = True

    async def getmany(
        self, *only: TopicPartition, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[Message]]:
        if not only and self.broken:
            self.broken = False
            raise ValueError("a batch that does not unpack")
        self.ends[P0] += 5 if timeout_ms else 0
        taken = {}
        for partition in only or (P0, P1):
            first = self.positions[partition]
            offsets = range(first, min(self.ends[partition], first + max_records))
            if offsets:
                taken[partition] = _messages(*offsets)
                self.positions[partition] = offsets[-1] + 1
        return taken

    def assignment(self) -> set[TopicPartition]:
        return {P0, P1}

    def highwater(self, partition: TopicPartition) -> int:
        return self.ends[partition]

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.positions[partition] = offset

    async def position(self, partition: TopicPartition) -> int:
        return self.positions[partition]


async def test_a_busy_suspect_does_not_keep_all_others_waiting() -> None:
    consumer: Any = BusyConsumer()
    reader = _poller(consumer)
    reader.moved(P0, 0)
    reader.moved(P1, 0)
    polls = [await _offsets(reader, 9) for _ in range(5)]
    assert polls[0] == {}
    assert [list(poll) for poll in polls[1:4]] == [[P0], [P1], [P0]]
    assert list(range(9)) == polls[1][P0]
    assert polls[2] == {P1: [0, 1, 2]}
    consumer.ends[P1] = 4
    assert (await _offsets(reader, 100))[P1] == [3]  # nobody is a suspect any more
