"""Record batches unpack to a bounded size. aiokafka has no setting for it, so its four decoders are replaced.

A batch of 64 KiB can unpack to 2 GiB. aiokafka looks its decoders up by name, in the modules listed here, each time
it reads a compressed batch: putting bounded ones there guards every consumer of this process. A contract test
reads real batches through the replaced decoders and fails when an aiokafka release stops using these names.

Headers are bounded as well: one of two bytes takes a hundred once aiokafka has taken it apart, so a record of 17 MB
would take a gigabyte. Batches with such a record are refused before, here and in GuardedRecords, which stands in
for aiokafka's own reader of batches; `record_batch` then reads them.
"""

import importlib
import mmap
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

import cramjam
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.record.memory_records import MemoryRecords

from worker.storage.record_headers import HeadersBroken, read_varint

# Brokers take batches of about 1 MB; JSON events compress 5 to 30 times. Twice this is needed for a moment.
BATCH_BYTES: Final = 64 * 1024 * 1024
# Producers write one. Each further one copies the rest of the batch.
_GZIP_MEMBERS = 100
_GZIP_STEP_BYTES = 1024 * 1024
_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16

# Headers of one record that aiokafka may take apart: half a megabyte.
MOST_HEADERS: Final = 5_000
# So many headers take two bytes each at least: what is left of a batch is not looked into when it is shorter.
_SHORT_RECORD: Final = 2 * MOST_HEADERS
# Looking at a batch must not hold up the loop: it takes 1.5 µs a record.
_MOST_RECORDS: Final = 500_000
_BATCH_HEADER_BYTES: Final = 61
_LENGTH = struct.Struct(">i")
_LENGTH_AT, _MAGIC_AT, _CODEC_AT = 8, 16, 22

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
                setattr(module, name, _guarded(_bounded(decode, limit_bytes)))
    fetcher = importlib.import_module("aiokafka.consumer.fetcher")
    fetcher.MemoryRecords = GuardedRecords  # type: ignore[attr-defined]


class GuardedRecords:
    """aiokafka's MemoryRecords, which raises CodecError before a record with too many headers is taken apart."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._records = MemoryRecords(content)
        self._at = 0

    def size_in_bytes(self) -> int:
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        return bool(self._records.has_next())

    def next_batch(self) -> Any:
        """The next batch; what is compressed is looked at when it is unpacked."""
        batch, start = self._records.next_batch(), self._at
        (length,) = _LENGTH.unpack_from(self._content, start + _LENGTH_AT)
        self._at = start + 12 + length
        plain = self._content[start + _MAGIC_AT] == 2 and self._content[start + _CODEC_AT] & 0x07 == 0
        if plain and length > _SHORT_RECORD:
            _require_few_headers(self._content, start + _BATCH_HEADER_BYTES, self._at)
        return batch


def _guarded(decode: Callable[[bytes | memoryview], bytes]) -> Callable[[bytes | memoryview], bytes]:
    def guarded(payload: bytes | memoryview) -> bytes:
        records = decode(payload)
        _require_few_headers(records, 0, len(records))
        return records

    return guarded


def _require_few_headers(records: bytes, at: int, end: int) -> None:
    """Raise CodecError for a record with more than MOST_HEADERS; whatever else is wrong is aiokafka's to find."""
    for _ in range(_MOST_RECORDS):
        if end - at <= _SHORT_RECORD:
            return
        try:
            length, at = read_varint(records, at)
            # Whatever the length says: aiokafka looks at it only when it has taken the headers apart.
            if _headers_in(records, at, end) > MOST_HEADERS:
                raise CodecError(f"a record has more than {MOST_HEADERS:,} headers")
        except (IndexError, HeadersBroken):
            return
        if length <= 0:
            return
        at += length
    raise CodecError(f"a batch has more than {_MOST_RECORDS:,} records")


def _headers_in(records: bytes, at: int, end: int) -> int:
    """How many headers the record that begins at `at`, behind its length, says it has.

    Raises what `read_varint` does where that cannot be found.
    """
    at = at + 2 if records[at + 1] < 0x80 else read_varint(records, at + 1)[1]  # attributes, time
    at = at + 1 if records[at] < 0x80 else read_varint(records, at)[1]  # offset
    length, at = read_varint(records, at)  # key
    at += max(length, 0)
    length, at = read_varint(records, at)  # value
    at += max(length, 0)
    return read_varint(records, at)[0] if at < end else 0


def unpacked(codec: int, payload: bytes, limit_bytes: int = BATCH_BYTES) -> bytes:
    """The records of a batch by its codec's number. Raises CodecError."""
    if codec == 0:
        return payload
    decode = {1: _gunzip, 2: _unsnappy, 3: _unlz4, 4: _unzstd}.get(codec)
    if decode is None:
        raise CodecError(f"codec {codec} is unknown")
    return _bounded(decode, limit_bytes)(payload)


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
    """Unpack in steps into one buffer: zlib's own result needs twice the room, and an error's traceback keeps it."""
    with mmap.mmap(-1, limit) as output:
        for _ in range(_GZIP_MEMBERS):
            if not payload:
                return output[: output.tell()]
            member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            while not member.eof:
                piece = member.decompress(payload, _GZIP_STEP_BYTES)
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
