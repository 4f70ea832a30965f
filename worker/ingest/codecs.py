"""Record batches unpack to a bounded size. aiokafka has no setting for it, so its four decoders are replaced.

A batch of 64 KiB can unpack to 2 GiB. aiokafka looks its decoders up by name, in the modules listed here, each time
it reads a compressed batch: putting bounded ones there guards every consumer of this process. A contract test
reads real batches through the replaced decoders and fails when an aiokafka release stops using these names.
"""

import importlib
import mmap
import struct
import zlib
from collections.abc import Callable
from typing import Final

import cramjam
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode

# Brokers take batches of about 1 MB; JSON events compress 5 to 30 times. Twice this is needed for a moment.
BATCH_BYTES: Final = 64 * 1024 * 1024
# Producers write one. Each further one copies the rest of the batch.
_GZIP_MEMBERS = 100
_GZIP_PIECE_BYTES = 1024 * 1024
_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16

_MODULES = (
    "aiokafka.record.default_records",
    "aiokafka.record.legacy_records",
    "aiokafka.record._crecords.default_records",
    "aiokafka.record._crecords.legacy_records",
)


class CodecError(ValueError):
    """A compressed batch that does not unpack, or not within the limit."""


def install_bounded_decoders(limit_bytes: int = BATCH_BYTES) -> None:
    """Let aiokafka unpack at most `limit_bytes` per batch in this process; larger ones raise CodecError.

    May be called again, also with another limit.
    """
    decoders = {
        gzip_decode.__name__: _gunzip,
        snappy_decode.__name__: _unsnappy,
        lz4_decode.__name__: _unlz4,
        zstd_decode.__name__: _unzstd,
    }
    for module_name in _MODULES:
        try:
            module = importlib.import_module(module_name)
        except ImportError:  # aiokafka without its compiled parts
            continue
        for name, decode in decoders.items():
            if hasattr(module, name):
                setattr(module, name, _bounded(decode, limit_bytes))


def _bounded(decode: Callable[[bytes, int], bytes], limit: int) -> Callable[[bytes | memoryview], bytes]:
    def bounded(payload: bytes | memoryview) -> bytes:
        try:
            return decode(bytes(payload), limit)
        except cramjam.DecompressionError as error:
            raise CodecError(f"the batch does not unpack to {limit} bytes or less: {error}") from error
        except zlib.error as error:
            raise CodecError(f"the batch does not unpack: {error}") from error
        except BaseException as error:
            if type(error).__name__ == "PanicException":  # cramjam's Rust code; not an Exception
                raise CodecError("the decoder gave up") from error
            raise

    return bounded


def _too_large(limit: int) -> CodecError:
    return CodecError(f"the batch unpacks to more than {limit} bytes")


def _gunzip(payload: bytes, limit: int) -> bytes:
    """Piece by piece into one place: zlib's own result needs twice the room, and an error's traceback keeps it."""
    with mmap.mmap(-1, limit) as output:
        for _ in range(_GZIP_MEMBERS):
            if not payload:
                return output[: output.tell()]
            member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            while not member.eof:
                piece = member.decompress(payload, _GZIP_PIECE_BYTES)
                payload = member.unconsumed_tail
                if len(piece) > limit - output.tell():
                    raise _too_large(limit)
                if not piece and not payload and not member.eof:
                    raise CodecError("the gzip stream ends early")
                output.write(piece)
            payload = member.unused_data.lstrip(b"\0")
    raise CodecError(f"more than {_GZIP_MEMBERS} gzip members")


def _unsnappy(payload: bytes, limit: int) -> bytes:
    """Raw snappy, or the framed form of Java producers: 16 bytes of header, then length and data of each block."""
    if not payload.startswith(_XERIAL_MAGIC) or len(payload) <= _XERIAL_HEADER_BYTES:
        return _snappy_block(payload, limit, limit)
    parts: list[bytes] = []
    room, at = limit, _XERIAL_HEADER_BYTES
    while at < len(payload):
        if at + 4 > len(payload):
            raise CodecError("a snappy block ends early")
        (length,) = struct.unpack_from(">i", payload, at)
        if length <= 0 or at + 4 + length > len(payload):
            raise CodecError("a snappy block has an impossible length")
        parts.append(_snappy_block(payload[at + 4 : at + 4 + length], room, limit))
        room -= len(parts[-1])
        at += 4 + length
    return b"".join(parts)


def _snappy_block(block: bytes, room: int, limit: int) -> bytes:
    if cramjam.snappy.decompress_raw_len(block) > room:  # said by the block itself, allocated on its word
        raise _too_large(limit)
    return bytes(cramjam.snappy.decompress_raw(block))


def _unlz4(payload: bytes, limit: int) -> bytes:
    with mmap.mmap(-1, limit) as output:  # costs nothing until it is written to
        return output[: cramjam.lz4.decompress_into(payload, output)]


def _unzstd(payload: bytes, limit: int) -> bytes:
    with mmap.mmap(-1, limit) as output:
        return output[: cramjam.zstd.decompress_into(payload, output)]
