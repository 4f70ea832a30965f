"""A broker whose fetches can be damaged: a TCP proxy before the real one, and ways to break a record batch."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from functools import cache
from typing import Any

import cramjam
from aiokafka import AIOKafkaProducer
from aiokafka.protocol import fetch
from aiokafka.record.util import calc_crc32c

from tests.support.ingest import Sent

_FETCH = 1
_HOST = b"127.0.0.1"
# Offsets of fields in a batch of format 2.
_CRC_AT, _ATTRIBUTES_AT, _LAST_DELTA_AT, _RECORDS_AT = 17, 21, 23, 61

Damage = Callable[[bytes], bytes]
# (topic, partition, error code, batches) -> (error code, batches)
ChangeFetch = Callable[[str, int, int, bytes], tuple[int, bytes]]


def unchanged(_topic: str, _partition: int, code: int, batches: bytes) -> tuple[int, bytes]:
    return code, batches


class FetchProxy:
    """Forwards everything; `change` sees each partition of each fetch response. Clients never leave the proxy.

    They are told to talk to `advertised_port`: its own, or that of whoever stands before it.
    """

    def __init__(self, broker: str) -> None:
        self._broker_port = int(broker.rpartition(":")[2])
        self.port = 0
        self.advertised_port = 0
        self.change: ChangeFetch = unchanged
        self._writers: set[asyncio.StreamWriter] = set()
        self._fetches: dict[tuple[int, int], int] = {}

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def break_batch(self, partition: int, offset: int, damage: Damage, times: int | None = None) -> None:
        """Damage the batch that holds `offset` each time it is fetched, or only the first `times` times."""
        before, left = self.change, [times]

        def change(topic: str, number: int, code: int, batches: bytes) -> tuple[int, bytes]:
            code, batches = before(topic, number, code, batches)
            changed = b"".join(
                damage(batch)
                if number == partition and left[0] != 0 and _holds(batch, offset) and _count(left)
                else batch
                for batch in split(batches)
            )
            return code, changed

        self.change = change

    def cut_connections(self) -> None:
        for writer in self._writers:
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self._broker_port)
        self._writers |= {writer, upstream}
        fetches: dict[int, int] = {}
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._requests(reader, upstream, fetches))
                    group.create_task(self._responses(upstream_reader, writer, fetches))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            upstream.close()
            self._writers -= {writer, upstream}

    async def _requests(
        self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter, fetches: dict[int, int]
    ) -> None:
        while True:
            frame = await _frame(reader)
            api, version, correlation = struct.unpack_from(">hhi", frame)
            if api == _FETCH:
                fetches[correlation] = version
            upstream.write(struct.pack(">i", len(frame)) + frame)
            await upstream.drain()

    async def _responses(
        self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter, fetches: dict[int, int]
    ) -> None:
        ours, theirs = struct.pack(">i", self.advertised_port), struct.pack(">i", self._broker_port)
        while True:
            frame = await _frame(upstream)
            (correlation,) = struct.unpack_from(">i", frame)
            version = fetches.pop(correlation, None)
            if version is None:
                frame = frame.replace(_HOST + theirs, _HOST + ours)
            else:
                frame = frame[:4] + self._changed(frame[4:], version)
            writer.write(struct.pack(">i", len(frame)) + frame)
            await writer.drain()

    def _changed(self, body: bytes, version: int) -> bytes:
        kind: Any = getattr(fetch, f"FetchResponse_v{version}")
        response = kind.decode(body)
        topics = []
        for topic, partitions in response.topics:
            changed = []
            for number, code, *between, batches in partitions:
                code, batches = self.change(topic, number, code, batches or b"")
                changed.append((number, code, *between, batches))
            topics.append((topic, changed))
        fields = {name: getattr(response, name) for name in kind.SCHEMA.names}
        return bytes(kind(**{**fields, "topics": topics}).encode())


async def _frame(reader: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(length)


def _count(left: list[int | None]) -> bool:
    if left[0] is not None:
        left[0] -= 1
    return True


def _holds(batch: bytes, offset: int) -> bool:
    (base,) = struct.unpack_from(">q", batch)
    (delta,) = struct.unpack_from(">i", batch, _LAST_DELTA_AT)
    return bool(base <= offset <= base + delta)


def split(batches: bytes) -> list[bytes]:
    """The batches of a fetch response, the last one perhaps cut."""
    found, at = [], 0
    while at + 12 <= len(batches):
        (length,) = struct.unpack_from(">i", batches, at + 8)
        found.append(batches[at : at + 12 + length])
        at += 12 + length
    return found


@contextlib.asynccontextmanager
async def proxied(broker: str) -> AsyncIterator[FetchProxy]:
    proxy = FetchProxy(broker)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=2**24)
    proxy.port = proxy.advertised_port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut_connections()


def _sealed(batch: bytearray) -> bytes:
    """Length and checksum made right again."""
    struct.pack_into(">i", batch, 8, len(batch) - 12)
    struct.pack_into(">I", batch, _CRC_AT, calc_crc32c(bytes(batch[_ATTRIBUTES_AT:])))
    return bytes(batch)


def with_payload(batch: bytes, codec: int, payload: bytes) -> bytes:
    changed = bytearray(batch[:_RECORDS_AT] + payload)
    struct.pack_into(">h", changed, _ATTRIBUTES_AT, codec)
    return _sealed(changed)


def wrong_checksum(batch: bytes) -> bytes:
    return batch[:-1] + bytes([batch[-1] ^ 0xFF])


def wrong_checksum_and_header(batch: bytes) -> bytes:
    """The header's last offset is wrong, too, so that it cannot be believed."""
    changed = bytearray(wrong_checksum(batch))
    struct.pack_into(">i", changed, _LAST_DELTA_AT, 1_000_000)
    return bytes(changed)


def unknown_codec(batch: bytes) -> bytes:
    return with_payload(batch, 7, batch[_RECORDS_AT:])


def not_compressed_as_said(batch: bytes) -> bytes:
    return with_payload(batch, 4, batch[_RECORDS_AT:])


def records_cut(batch: bytes) -> bytes:
    return with_payload(batch, 0, batch[_RECORDS_AT:-5])


def header_name_not_utf8(batch: bytes, codec: int = 0) -> bytes:
    """Headers named `trace`."""
    payload = batch[_RECORDS_AT:].replace(b"trace", b"tr\xffce")
    return with_payload(batch, codec, bytes(cramjam.zstd.compress(payload)) if codec == 4 else payload)


def header_too_long(batch: bytes) -> bytes:
    """The value of a header named `trace`, one byte, goes beyond its record."""
    return with_payload(batch, 0, batch[_RECORDS_AT:].replace(b"trace\x02", b"trace\x7e"))


def bomb(batch: bytes) -> bytes:
    """64 KiB that unpack to 2 GiB."""
    return with_payload(batch, 4, _packed_zeros())


@cache
def _packed_zeros() -> bytes:
    packer = cramjam.zstd.Compressor()
    zeros = bytes(2**20)
    for _ in range(2**11):
        packer.compress(zeros)
    return bytes(packer.finish())


async def send_batches(kafka: str, topic: str, partition: int, batches: Sequence[Sequence[Sent]]) -> None:
    """Publish each inner sequence as one record batch of its own, in order."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        for sent in batches:
            batch = producer.create_batch()
            for record in sent:
                batch.append(key=record.key, value=record.value, timestamp=None, headers=list(record.headers))
            batch.close()
            await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await producer.stop()
