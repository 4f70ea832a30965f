"""A record batch taken apart by its length fields, where aiokafka gives up: what cannot be read costs only itself.

Pure. Records are length-prefixed, so one whose headers or fields are broken is stepped over and kept as its exact
bytes. Where a length itself is broken, nothing behind it can be found any more.
"""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from worker.contract.source import Source
from worker.kafka.codecs import MOST_HEADERS, CodecError, unpacked
from worker.kafka.record import Partition, Record
from worker.storage.record_headers import Header, HeadersBroken, decode_headers, read_varint

# Base offset, length, (leader's epoch), magic, (checksum), attributes, last offset's delta, first and last timestamp,
# (producer's id and epoch, base sequence), number of records.
_HEADER: Final = struct.Struct(">qi4xb4xhiqq14xi")
_FORMAT: Final = 2
_CODEC: Final = 0x07
_LOG_APPEND_TIME: Final = 0x08
_CONTROL: Final = 0x20

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_TIMESTAMP: Final = -1
# The contract's last year: what lies behind it says nothing, microseconds instead of milliseconds for example.
_LAST_MS: Final = int((datetime(2100, 1, 1, tzinfo=UTC) - _EPOCH) / timedelta(milliseconds=1))

# An empty list and its place in another one. Events have fewer than so many values, and of small ones not even
# 5,000 can hold what would matter.
_VALUE_BYTES: Final = 64
_USUAL_VALUES: Final = 50
_SMALL_BYTES: Final = 500
# A header's tuple, its name and its value, empty ones.
_HEADER_BYTES: Final = 150


class ParsedRecord(NamedTuple):
    """What aiokafka would have made of a record. See `Record` for `headers` as bytes and `unreadable`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] | bytes
    unreadable: str | None = None


@dataclass(frozen=True, slots=True)
class Salvaged:
    """Records of a batch from an offset on, as many as were wanted; reading goes on at `next_offset`."""

    records: tuple[ParsedRecord, ...]
    next_offset: int


class Lost(NamedTuple):
    """Offsets, both included, whose records cannot be found in their batch any more."""

    first: int
    last: int


def message_bytes(message: Any) -> int:
    """What a record of aiokafka takes in memory, about, until it is durable.

    Of JSON every value becomes an object: 20,000 empty lists in 60 kB take more than a megabyte.
    """
    value: bytes = message.value or b""
    size = len(value) + len(message.key or b"")
    if len(value) > _SMALL_BYTES:
        values = value.count(b",") + value.count(b"[") + value.count(b"{")
        size += max(0, values - _USUAL_VALUES) * _VALUE_BYTES
    headers = message.headers
    if headers:
        if isinstance(headers, bytes):
            return size + len(headers)
        size += sum(_HEADER_BYTES + len(name) + len(content or b"") for name, content in headers)
    return size


def record_of(message: Any) -> Record:
    """The `Record` of what aiokafka returned, or of a ParsedRecord."""
    return Record(
        Source(message.topic, message.partition, message.offset),
        _time_of(message.timestamp),
        message.key,
        message.value,
        message.headers,
        message.unreadable if type(message) is ParsedRecord else None,
    )


def _time_of(timestamp: int | None) -> datetime | None:
    """A record's time, None for no usable one: producers choose any 64-bit number, old formats have none."""
    if timestamp is None or timestamp == _NO_TIMESTAMP or timestamp > _LAST_MS:
        return None
    return _EPOCH + timedelta(milliseconds=max(0, timestamp))


def salvage(
    content: bytes, partition: Partition, offset: int, max_records: int, max_bytes: int
) -> Salvaged | Lost | None:
    """The records from `offset` on of the first batch in `content`, whose checksum is right.

    None for a batch that has to be taken as a whole: of an old format, of control records, or not to be unpacked.
    """
    header = header_of(content)
    if header is None or header.magic != _FORMAT or header.attributes & _CONTROL:
        return None
    try:
        payload = unpacked(header.attributes & _CODEC, content[_HEADER.size : 12 + header.length])
    except CodecError:
        return None
    records: list[ParsedRecord] = []
    at, before, size_bytes = 0, header.base - 1, 0
    for _ in range(header.records):
        if len(records) >= max_records or size_bytes >= max_bytes:
            return Salvaged(tuple(records), before + 1)
        frame = _frame_at(payload, at, header)
        if frame is None or not before < frame.offset <= header.last:
            break
        before, at = frame.offset, frame.end
        if frame.offset >= offset:
            records.append(_parsed(payload, frame, partition))
            size_bytes += message_bytes(records[-1])
    if records:
        return Salvaged(tuple(records), before + 1)
    first = max(offset, before + 1)
    if at != len(payload) and first <= header.last:
        return Lost(first, header.last)
    return Salvaged((), header.last + 1)


class BatchHeader(NamedTuple):
    """What the header of a batch says, as far as it is needed; older formats hold other fields behind the length."""

    base: int
    length: int
    magic: int
    attributes: int
    last_delta: int
    first_timestamp: int
    last_timestamp: int
    records: int

    @property
    def last(self) -> int:
        return self.base + self.last_delta


def header_of(content: bytes) -> BatchHeader | None:
    """The header of the first batch; None for fewer bytes than it has."""
    return BatchHeader(*_HEADER.unpack_from(content)) if len(content) >= _HEADER.size else None


class _Frame(NamedTuple):
    """A record's bytes, from `start` with its length field to `end`; its key begins at `fields`."""

    start: int
    fields: int
    end: int
    timestamp: int
    offset: int


def _frame_at(payload: bytes, at: int, header: BatchHeader) -> _Frame | None:
    """The record that begins here; None for a length that cannot be, and where time and offset cannot be read."""
    try:
        length, body = read_varint(payload, at)
        delta_ms, behind = read_varint(payload, body + 1)  # behind the attributes' byte
        delta, fields = read_varint(payload, behind)
    except (IndexError, HeadersBroken):
        return None
    end = body + length
    if length <= 0 or not fields <= end <= len(payload):
        return None
    appended = header.attributes & _LOG_APPEND_TIME
    timestamp = header.last_timestamp if appended else header.first_timestamp + delta_ms
    return _Frame(at, fields, end, timestamp, header.base + delta)


def _parsed(payload: bytes, frame: _Frame, partition: Partition) -> ParsedRecord:
    """The record; its exact bytes where its fields do not fill it exactly."""
    where = (*partition, frame.offset, frame.timestamp)
    try:
        key, at = _bytes_at(payload, frame.fields, frame.end)
        value, at = _bytes_at(payload, at, frame.end)
        return ParsedRecord(*where, key, value, _headers_of(payload[at : frame.end]))
    except (IndexError, HeadersBroken) as error:
        why = f"the record's fields cannot be read ({error}); the bytes are the whole record as its batch holds it"
        return ParsedRecord(*where, None, payload[frame.start : frame.end], (), why)


def _bytes_at(payload: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    length, at = read_varint(payload, at)
    if length < 0:
        return None, at
    if at + length > end:
        raise HeadersBroken("a field goes beyond the record")
    return payload[at : at + length], at + length


def _headers_of(encoded: bytes) -> tuple[Header, ...] | bytes:
    """The headers one by one; as they are encoded where they are very many, or where a name is no text."""
    count, _ = read_varint(encoded, 0)
    if count > MOST_HEADERS:
        return encoded
    try:
        return tuple((name.decode(), value) for name, value in decode_headers(encoded))
    except UnicodeDecodeError:
        return encoded
