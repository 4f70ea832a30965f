"""Contract with aiokafka 0.14 and cramjam: batches come out unchanged through the bounded decoders, and no larger."""

import gzip
import subprocess
import sys
from collections.abc import Callable, Iterator

import cramjam
import pytest
from aiokafka.codec import snappy_encode
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from worker.kafka.codecs import BATCH_BYTES, CodecError, install_bounded_decoders

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
CODECS = pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])


@pytest.fixture(autouse=True)
def _decoders() -> Iterator[None]:
    """Other tests of this process go on with the usual limit."""
    install_bounded_decoders()
    yield
    install_bounded_decoders()


def packed(codec: int, values: list[bytes]) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, 0, 2**30)
    for offset, value in enumerate(values):
        builder.append(offset, 1_700_000_000_000, b"key", value, [("trace", b"x")])
    return bytes(builder.build())


def unpacked(batch: bytes) -> list[bytes]:
    return [record.value for record in MemoryRecords(batch).next_batch()]


@CODECS
def test_batches_come_out_unchanged(codec: int) -> None:
    values = [b"%d" % number * 100 for number in range(500)]
    assert unpacked(packed(codec, values)) == values


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4])
def test_batches_of_the_older_format_are_bounded_as_well(codec: int) -> None:
    builder = LegacyRecordBatchBuilder(1, codec, 2**20)
    builder.append(0, 1_700_000_000_000, b"key", b"v" * 10_000)
    batch = bytes(builder.build())
    assert unpacked(batch) == [b"v" * 10_000]
    install_bounded_decoders(9_000)
    with pytest.raises(CodecError):
        unpacked(batch)


@CODECS
def test_a_batch_larger_than_the_limit_is_refused_and_one_at_the_limit_is_not(codec: int) -> None:
    batch = packed(codec, [b"v" * 100_000])
    size = len(packed(0, [b"v" * 100_000])) - 61  # what is compressed: all but the header
    install_bounded_decoders(size)
    assert unpacked(batch) == [b"v" * 100_000]
    install_bounded_decoders(size - 1)
    with pytest.raises(CodecError):
        unpacked(batch)


@CODECS
@given(payload=st.binary(max_size=300))
def test_any_bytes_are_unpacked_or_refused(codec: int, payload: bytes) -> None:
    batch = packed(codec, [b"value"])[:61] + payload
    batch = batch[:8] + (len(batch) - 12).to_bytes(4, "big") + batch[12:]
    try:
        unpacked(batch)
    except Exception as error:
        assert isinstance(error, ValueError) or "Corrupt" in type(error).__name__  # noqa: PT017


def test_a_gzip_stream_of_many_members_is_refused() -> None:
    batch = packed(GZIP, [b"value"])[:61] + gzip.compress(b"") * 1_000
    batch = batch[:8] + (len(batch) - 12).to_bytes(4, "big") + batch[12:]
    with pytest.raises(CodecError, match="members"):
        unpacked(batch)


@pytest.mark.parametrize("length", [-8, 0, 2**31 - 1])
def test_an_impossible_block_length_in_framed_snappy_is_refused(length: int) -> None:
    framed = bytearray(snappy_encode(b"value"))
    framed[16:20] = length.to_bytes(4, "big", signed=True)
    batch = packed(SNAPPY, [b"value"])[:61] + bytes(framed)
    batch = batch[:8] + (len(batch) - 12).to_bytes(4, "big") + batch[12:]
    with pytest.raises(CodecError):
        unpacked(batch)


def _zeros(name: str) -> Callable[[], bytes]:
    def pack() -> bytes:
        packer = getattr(cramjam, name).Compressor()
        zeros = bytes(2**20)
        for _ in range(2**11):
            packer.compress(zeros)
        return bytes(packer.finish())

    return pack


# Runs in a process of its own: the peak of its memory is the measurement.
READ_BOMB = """
import resource, sys
from aiokafka.record.memory_records import MemoryRecords
from worker.kafka.codecs import CodecError, install_bounded_decoders

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

install_bounded_decoders()
batch = sys.stdin.buffer.read()
before = peak()
try:
    list(MemoryRecords(batch).next_batch())
except CodecError:
    print((peak() - before) // 1024)
"""


@pytest.mark.parametrize(
    ("codec", "pack"),
    [
        pytest.param(GZIP, _zeros("gzip"), marks=pytest.mark.slow),  # packing takes five seconds
        (SNAPPY, lambda: b"\x80\x80\x80\x80\x08" + bytes(2**20)),  # says that it holds 2 GiB
        pytest.param(LZ4, _zeros("lz4"), marks=pytest.mark.slow),
        (ZSTD, _zeros("zstd")),
    ],
    ids=["gzip", "snappy", "lz4", "zstd"],
)
def test_a_batch_that_unpacks_to_2_gib_takes_less_than_256_mib(codec: int, pack: Callable[[], bytes]) -> None:
    batch = packed(codec, [b"value"])[:61] + pack()
    batch = batch[:8] + (len(batch) - 12).to_bytes(4, "big") + batch[12:]
    ran = subprocess.run(  # noqa: S603 -- this very interpreter
        [sys.executable, "-c", READ_BOMB], input=batch, capture_output=True, check=True
    )
    assert 0 <= int(ran.stdout) <= 256
    assert BATCH_BYTES == 64 * 2**20
