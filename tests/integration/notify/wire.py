"""A wire between a client and a server that can be cut, refuse new connections, or carry nothing for a while."""

import asyncio
import contextlib


class Wire:
    """Listens on `port` and carries bytes to `target` on this machine, both ways."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._carriers: set[asyncio.Task[None]] = set()

    async def mend(self) -> None:
        """Accept connections (again)."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Drop what is connected and refuse what comes."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for carrier in list(self._carriers):
            carrier.cancel()
        await asyncio.gather(*self._carriers, return_exceptions=True)

    def hold(self) -> None:
        """Carry nothing, neither way; connections stay."""
        self._flowing.clear()

    def let_go(self) -> None:
        """Carry what was held back, and everything else."""
        self._flowing.set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        pair = [
            asyncio.create_task(self._pump(reader, back)),
            asyncio.create_task(self._pump(onward, writer)),
        ]
        self._carriers.update(pair)
        try:
            await asyncio.wait(pair, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in pair:
                task.cancel()
                self._carriers.discard(task)
            writer.close()
            back.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while part := await reader.read(65_536):
                await self._flowing.wait()
                writer.write(part)
                await writer.drain()
