"""Record batches of a megabyte or two that a broker accepts, because they are valid, and that unpack to gigabytes."""

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache

import cramjam
from aiokafka.record.util import encode_varint

from tests.integration.kafka.damage import with_payload
from tests.support.ingest import Sent
from tests.support.kafka import batch_of

GZIP, LZ4, ZSTD = 1, 3, 4
MIB = 1024 * 1024
_CHUNK = bytes(MIB)
_GZIP_HEADER = b"\x1f\x8b\x08" + bytes(6) + b"\xff"


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


def _packed_by_zlib(key: bytes, zeros: int) -> bytes:
    """A gzip stream whose zeros are one deflated piece again and again: packing 2 GB would take many seconds."""
    before, after = _record(key, zeros)
    rest = bytes(zeros % MIB) + after
    checksum = zlib.crc32(before)
    for _ in range(zeros // MIB):
        checksum = zlib.crc32(_CHUNK, checksum)
    trailer = struct.pack("<II", zlib.crc32(rest, checksum), (len(before) + zeros + len(after)) % 2**32)
    pieces = _deflated(before) + _deflated(_CHUNK) * (zeros // MIB) + _deflated(rest, zlib.Z_FINISH)
    return _GZIP_HEADER + pieces + trailer


def _deflated(piece: bytes, end: int = zlib.Z_FULL_FLUSH) -> bytes:
    """A part of a deflate stream that refers to nothing outside itself."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(piece) + packer.flush(end)


@cache
def bomb(codec: int, unpacked_bytes: int, key: bytes = b"") -> bytes:
    """A batch of one record with `unpacked_bytes` of zeros. The key gives a zstd bomb its size."""
    pieces = _pieces(key, unpacked_bytes)
    pack: dict[int, Callable[[], bytes]] = {
        GZIP: lambda: _packed_by_zlib(key, unpacked_bytes),
        LZ4: lambda: _packed_by_cramjam(cramjam.lz4.Compressor(block_linked=False), pieces),
        ZSTD: lambda: _packed_by_cramjam(cramjam.zstd.Compressor(), pieces),
    }
    return with_payload(batch_of([Sent(b"", None)]), codec, pack[codec]())
