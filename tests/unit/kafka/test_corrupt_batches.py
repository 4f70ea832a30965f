"""What is a broken batch and what is not, and where it ends: decided without a broker."""

import gzip
from bisect import bisect_right

import cramjam
import pytest
from aiokafka import errors as kafka
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from worker.kafka.batch_bounds import Found, batch_range, decoding_failure
from worker.kafka.codecs import CodecError
from worker.kafka.corrupt_batches import about_a_batch


@pytest.mark.parametrize(
    "error",
    [
        kafka.CorruptRecordException("Invalid CRC"),
        kafka.UnsupportedCodecError("Unknown compression codec 0x07"),
        kafka.RecordTooLargeError("whose size is larger than the fetch size"),
        kafka.KafkaError("Control batch did not contain any records"),
        CodecError("the batch unpacks to more than 67108864 bytes"),
        cramjam.DecompressionError("incomplete frame"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        IndexError("out of range"),
        EOFError(),
    ],
    ids=repr,
)
def test_an_error_of_decoding_may_be_about_a_batch(error: Exception) -> None:
    assert about_a_batch(error)


@pytest.mark.parametrize(
    "error",
    [
        kafka.KafkaConnectionError("no broker"),
        kafka.RequestTimedOutError(),
        kafka.KafkaTimeoutError(),
        kafka.NotLeaderForPartitionError(),
        kafka.GroupCoordinatorNotAvailableError(),
        kafka.NotCoordinatorForGroupError(),
        kafka.RebalanceInProgressError(),
        kafka.OffsetOutOfRangeError({}),
        kafka.NoOffsetForPartitionError({}),
        kafka.TopicAuthorizationFailedError("events"),
        kafka.GroupAuthorizationFailedError("group"),
        kafka.UnknownError(),
        kafka.KafkaError("Unexpected error during coordination"),
        kafka.ConsumerStoppedError(),
        ConnectionResetError(),
        TimeoutError(),
        OSError(12, "Cannot allocate memory"),
        MemoryError(),
    ],
    ids=repr,
)
def test_an_error_of_broker_group_network_or_machine_is_not_about_a_batch(error: Exception) -> None:
    assert not about_a_batch(error)


def packed(codec: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, 0, 2**20)
    for offset in range(5):
        builder.append(offset, 1_700_000_000_000, b"key", b"value", [])
    return bytes(builder.build())


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4])
def test_a_whole_batch_has_no_decoding_failure_even_if_the_next_one_is_broken(codec: int) -> None:
    assert decoding_failure(packed(codec)) is None
    assert decoding_failure(packed(codec) + packed(codec)[:-1] + b"\1") is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (packed()[:-1] + b"\1", "checksum"),
        (packed()[:-1], "length field"),
        (packed()[:40], "length field"),
        (gzip.compress(packed()), "length field"),
    ],
    ids=["last byte", "cut short", "header only", "not a batch"],
)
def test_a_broken_batch_says_why(content: bytes, reason: str) -> None:
    failure = decoding_failure(content)
    assert failure is not None
    assert reason in failure


@given(
    lengths=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), min_size=1, max_size=30),
    data=st.data(),
)
async def test_the_range_of_a_batch_is_exact_whatever_its_header_says(
    lengths: list[tuple[int, int]], data: st.DataObject
) -> None:
    bases, lasts, end = [], [], 100
    for length, hole in lengths:  # compaction and refused writes leave holes between batches
        bases.append(end + hole)
        lasts.append(end + hole + length - 1)
        end = lasts[-1] + 1
    guess = data.draw(st.sampled_from(["right", "zero", "huge", "negative", "middle"]))

    async def batch_at(offset: int) -> Found | None:
        number = next((n for n, last in enumerate(lasts) if last >= offset), None)
        if number is None:
            return None
        base, last = bases[number], lasts[number]
        guesses = {"right": last, "zero": base, "huge": 2**40, "negative": -5, "middle": (base + last) // 2}
        return Found(base, guesses[guess])

    offset = data.draw(st.integers(100, end - 1))
    number = bisect_right(bases, offset) - 1
    if number < 0 or offset > lasts[number]:
        number += 1
    assert await batch_range(batch_at, offset, end) == (max(offset, bases[number]), lasts[number])
    assert await batch_range(batch_at, end, end) is None
