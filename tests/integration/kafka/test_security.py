"""What the settings say about security reaches the wire: a listener sees how it is spoken to."""

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from worker.app.exits import ExitCode
from worker.errors import Retryable
from worker.kafka.producer import Publisher
from worker.timing import SystemClock

TLS_HANDSHAKE = b"\x16\x03"  # RFC 8446: record type 22, legacy version 3.x
LIMIT_S = 60


@dataclass(slots=True)
class Listener:
    """A port that hangs up after the first bytes and keeps them."""

    address: str = ""
    greetings: list[bytes] = field(default_factory=list)

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.greetings.append(await reader.read(2))
        writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    server = await asyncio.start_server(listener.greet, "127.0.0.1", 0)
    async with server:
        listener.address = "{}:{}".format(*server.sockets[0].getsockname())
        yield listener


async def by_publisher(address: str, folder: Path) -> None:
    security = {"security_protocol": "SSL", "ssl_context": ssl.create_default_context()}
    with pytest.raises(Retryable):
        await Publisher(address, "events", clock=SystemClock(), kafka=security).__aenter__()


async def by_command(address: str, folder: Path) -> None:
    file = folder / "events.jsonl"
    file.write_bytes(b"{}\n")
    settings = {"SEVENP_KAFKA_BOOTSTRAP_SERVERS": address, "SEVENP_KAFKA_SECURITY_PROTOCOL": "SSL"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker", "publish", str(file)), env={**os.environ, **settings}
    )
    assert await asyncio.wait_for(process.wait(), LIMIT_S) == ExitCode.UNREACHABLE


@pytest.mark.parametrize("publish", [by_publisher, by_command])
async def test_a_publisher_told_to_use_tls_greets_with_tls(
    listener: Listener, publish: Callable[[str, Path], Awaitable[None]], tmp_path: Path
) -> None:
    await publish(listener.address, tmp_path)
    assert listener.greetings
    assert set(listener.greetings) == {TLS_HANDSHAKE}
