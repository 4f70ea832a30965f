"""Record batches written byte by byte, as producers in any language could write them."""

import struct
from collections.abc import Sequence

import cramjam
from aiokafka.record.util import calc_crc32c

from worker.storage.record_headers import varint

RawHeaders = Sequence[tuple[bytes, bytes | None]]

_PACKERS = {
    0: bytes,
    1: lambda payload: bytes(cramjam.gzip.compress(payload)),
    3: lambda payload: bytes(cramjam.lz4.compress(payload)),
    4: lambda payload: bytes(cramjam.zstd.compress(payload)),
}


def sized(content: bytes | None) -> bytes:
    return varint(-1) if content is None else varint(len(content)) + content


def headers_of(headers: RawHeaders) -> bytes:
    return varint(len(headers)) + b"".join(sized(name) + sized(value) for name, value in headers)


def raw_record(
    delta: int,
    value: bytes | None = b"v",
    key: bytes | None = None,
    headers: RawHeaders | bytes = (),
    time_delta: int = 0,
) -> bytes:
    """One record with its length; `headers` as bytes are taken as they are."""
    encoded = headers if isinstance(headers, bytes) else headers_of(headers)
    body = b"\0" + varint(time_delta) + varint(delta) + sized(key) + sized(value) + encoded
    return varint(len(body)) + body


def raw_batch(
    records: Sequence[bytes],
    base: int = 0,
    last_delta: int | None = None,
    codec: int = 0,
    attributes: int = 0,
    first_timestamp: int = 1_700_000_000_000,
    producer: int = -1,
) -> bytes:
    """A batch of format 2 with a right checksum."""
    last = len(records) - 1 if last_delta is None else last_delta
    payload = _PACKERS[codec](b"".join(records))  # type: ignore[no-untyped-call]
    fields = (codec | attributes, last, first_timestamp, first_timestamp + 5, producer, 0, 0, len(records))
    tail = struct.pack(">hiqqqhii", *fields) + payload
    checksum = calc_crc32c(tail)
    return struct.pack(">qiibI", base, len(tail) + 9, 0, 2, checksum) + tail
