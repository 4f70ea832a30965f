"""Each direction of the proxy does what its script says, and only that."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from tests.chaos.fault_injector import acting
from tests.chaos.proxy import Proxy, losing, proxied
from tests.support.waiting import until

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def before_an_echo() -> AsyncIterator[tuple[Proxy, list[bytes]]]:
    """A proxy before a server that sends back what it gets; what it got."""
    received: list[bytes] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.readline():
                received.append(data)
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with proxied(server.sockets[0].getsockname()[1]) as proxy:
        yield proxy, received
    server.close()


async def connected(proxy: Proxy) -> Ends:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def said(ends: Ends, line: bytes) -> bytes:
    ends[1].write(line)
    return await asyncio.wait_for(ends[0].readline(), 30)


async def test_without_a_script_everything_passes() -> None:
    async with before_an_echo() as (proxy, _):
        assert await said(await connected(proxy), b"one\n") == b"one\n"
        assert (proxy.to_server.passed_bytes, proxy.to_client.passed_bytes) == (4, 4)


async def test_a_dropped_reply_never_comes_and_its_request_was_done() -> None:
    async with before_an_echo() as (proxy, received):
        ends = await connected(proxy)
        proxy.to_client.becomes("drop")
        ends[1].write(b"one\n")
        await until(lambda: proxy.to_client.dropped_bytes == 4, "the reply to be dropped")
        proxy.heal()
        assert await said(ends, b"two\n") == b"two\n"
        assert received == [b"one\n", b"two\n"]


async def test_what_is_held_comes_when_it_is_let_go() -> None:
    async with before_an_echo() as (proxy, received):
        ends = await connected(proxy)
        assert await said(ends, b"zero\n") == b"zero\n"
        proxy.to_server.becomes("hold")
        waiting = asyncio.create_task(said(ends, b"one\n"))
        other = await connected(proxy)
        assert received == [b"zero\n"]
        proxy.heal()
        assert await waiting == b"one\n"
        assert await said(other, b"two\n") == b"two\n"


async def test_a_delay_passes_the_same_bytes_later() -> None:
    async with before_an_echo() as (proxy, _):
        ends = await connected(proxy)
        proxy.to_client.becomes("pass", delay_s=0.2)
        began = asyncio.get_running_loop().time()
        assert await said(ends, b"one\n") == b"one\n"
        assert asyncio.get_running_loop().time() - began >= 0.2


async def test_cut_connections_are_reset_and_new_ones_refused() -> None:
    async with before_an_echo() as (proxy, _):
        ends = await connected(proxy)
        assert await said(ends, b"one\n") == b"one\n"
        proxy.refusing = True
        proxy.cut()
        with contextlib.suppress(ConnectionError):
            assert await said(ends, b"two\n") == b""
        assert proxy.cuts == 1
        with contextlib.suppress(ConnectionError):
            assert await said(await connected(proxy), b"three\n") == b""


async def test_a_process_at_its_point_loses_the_reply_and_then_the_wire() -> None:
    async with before_an_echo() as (proxy, received), losing(proxy, 0.1) as loss:
        ends = await connected(proxy)
        await asyncio.to_thread(acting(f"tell:{loss.port}"))
        with contextlib.suppress(ConnectionError):
            assert await said(ends, b"one\n") == b""
        assert received == [b"one\n"]
        await asyncio.gather(*loss.ends)
        assert await said(await connected(proxy), b"two\n") == b"two\n"


def test_what_is_no_act_is_refused() -> None:
    with pytest.raises(ValueError, match="no act"):
        acting("pray")


def test_nobody_who_listens_is_an_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        act = acting(f"tell:{unused.getsockname()[1]}")
        with pytest.raises(OSError, match=r".+"):
            act()
