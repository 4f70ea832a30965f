"""A TCP proxy on loopback whose two directions can be damaged while it runs: delayed, dropped, held, cut."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal

from worker.timing import cancel_and_wait

_CHUNK = 65_536
# How many times as long a loss may last on a machine that is too busy to answer.
_LONGEST_WAIT = 40

# pass: as it is. drop: read and thrown away. hold: not even read, so that the sender's buffers fill: a black hole.
Mode = Literal["pass", "drop", "hold"]


@dataclass
class Direction:
    """What happens to the bytes of one direction, on all connections, from now on."""

    mode: Mode = "pass"
    delay_s: float = 0.0
    passed_bytes: int = 0
    dropped_bytes: int = 0
    delayed_bytes: int = 0
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._open.set()

    def becomes(self, mode: Mode, delay_s: float = 0.0) -> None:
        """Change the script; bytes that are held go on as soon as nothing holds them."""
        self.mode, self.delay_s = mode, delay_s
        if mode == "hold":
            self._open.clear()
        else:
            self._open.set()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Move one connection's bytes until an end closes."""
        while True:
            await self._open.wait()
            data = await reader.read(_CHUNK)
            if not data:
                return
            await self._open.wait()
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
                self.delayed_bytes += len(data)
            if self.mode == "drop":
                self.dropped_bytes += len(data)
                continue
            self.passed_bytes += len(data)
            writer.write(data)
            await writer.drain()


@dataclass
class Proxy:
    """Stands before one port. `refusing` closes new connections at once; `cut` ends those that are open."""

    target_port: int
    port: int = 0
    to_server: Direction = field(default_factory=Direction)
    to_client: Direction = field(default_factory=Direction)
    refusing: bool = False
    cuts: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut(self) -> None:
        """Reset every open connection, in both directions."""
        self.cuts += len(self._writers) // 2
        for writer in self._writers:
            writer.transport.abort()

    def heal(self) -> None:
        """Pass everything again, on connections old and new."""
        self.refusing = False
        self.to_server.becomes("pass")
        self.to_client.becomes("pass")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection, from its begin to its end."""
        if self.refusing:
            writer.transport.abort()
            return
        try:
            upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, upstream}
        pumps = [
            asyncio.create_task(self.to_server.pump(reader, upstream)),
            asyncio.create_task(self.to_client.pump(upstream_reader, writer)),
        ]
        try:
            with contextlib.suppress(OSError):
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(*pumps)
            self._writers -= {writer, upstream}
            writer.close()
            upstream.close()


@contextlib.asynccontextmanager
async def proxied(target_port: int) -> AsyncIterator[Proxy]:
    """A proxy before a port of this machine, on a port of its own."""
    proxy = Proxy(target_port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.heal()
        proxy.cut()


@dataclass
class Loss:
    """Whoever connects and says that its point is reached loses the server's replies for a while, then the wire."""

    proxy: Proxy
    lasts_s: float
    port: int = 0
    ends: list[asyncio.Task[None]] = field(default_factory=list)

    async def told(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Lose replies from before the answer on: what is sent after it will not be answered."""
        if await reader.readline():
            self.proxy.to_client.becomes("drop")
            self.proxy.to_client.dropped_bytes = 0
            writer.write(b"+")
            await writer.drain()
            self.ends.append(asyncio.create_task(self._end()))
        writer.close()

    async def _end(self) -> None:
        """After that time, or a while later where the server has not answered by then."""
        for _ in range(_LONGEST_WAIT):
            await asyncio.sleep(self.lasts_s)
            if self.proxy.to_client.dropped_bytes:
                break
        self.proxy.cut()
        self.proxy.heal()


@contextlib.asynccontextmanager
async def losing(proxy: Proxy, lasts_s: float) -> AsyncIterator[Loss]:
    """Listen for processes that come to their points."""
    loss = Loss(proxy, lasts_s)
    server = await asyncio.start_server(loss.told, "127.0.0.1", 0)
    loss.port = server.sockets[0].getsockname()[1]
    try:
        yield loss
    finally:
        server.close()
        await asyncio.gather(*loss.ends)
