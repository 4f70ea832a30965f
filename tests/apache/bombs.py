"""Record batches of a megabyte or two that a broker accepts, because they are valid, and that unpack to gigabytes."""

import zlib
from collections.abc import Callable, Iterator
from functools import cache

import cramjam
from aiokafka.record.util import encode_varint

from tests.apache.kit import batch_of
from tests.integration.ingest.damage import with_payload
from tests.integration.ingest.kit import Sent

GZIP, LZ4, ZSTD = 1, 3, 4
MIB = 1024 * 1024
_CHUNK = bytes(MIB)


def _varint(number: int) -> bytes:
    out = bytearray()
    encode_varint(number, out.append)
    return bytes(out)


def _record(key: bytes, zeros: int) -> tuple[bytes, bytes]:
    """What comes before and after the zeros that are the value of the only record."""
    before = b"\0" + _varint(0) + _varint(0) + _varint(len(key)) + key + _varint(zeros)
    after = _varint(0)  # no headers
    return _varint(len(before) + zeros + len(after)) + before, after


def _pieces(key: bytes, zeros: int) -> Iterator[bytes]:
    before, after = _record(key, zeros)
    yield before
    for _ in range(zeros // MIB):
        yield _CHUNK
    yield bytes(zeros % MIB) + after


def _packed_by_cramjam(
    packer: "cramjam.zstd.Compressor | cramjam.lz4.Compressor", pieces: Iterator[bytes]
) -> bytes:
    for piece in pieces:
        packer.compress(piece)
    return bytes(packer.finish())


def _packed_by_zlib(pieces: Iterator[bytes]) -> bytes:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return b"".join([*map(packer.compress, pieces), packer.flush()])


@cache
def bomb(codec: int, unpacked_bytes: int, key: bytes = b"") -> bytes:
    """A batch of one record with `unpacked_bytes` of zeros. The key gives a zstd bomb its size."""
    pieces = _pieces(key, unpacked_bytes)
    pack: dict[int, Callable[[], bytes]] = {
        GZIP: lambda: _packed_by_zlib(pieces),
        LZ4: lambda: _packed_by_cramjam(cramjam.lz4.Compressor(block_linked=False), pieces),
        ZSTD: lambda: _packed_by_cramjam(cramjam.zstd.Compressor(), pieces),
    }
    return with_payload(batch_of([Sent(b"", None)]), codec, pack[codec]())
