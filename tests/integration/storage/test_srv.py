"""`mongodb+srv` beside a name service that fails, says no, and comes back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import dns.asyncresolver
import dns.message
import dns.rcode
import dns.rrset
import pytest

from tests.conftest import RunningMongo
from worker.errors import Misconfigured, Retryable
from worker.storage import driver
from worker.storage.database import make_client
from worker.storage.errors import translated

URI = "mongodb+srv://mongo.sevenp.test/?tls=false&replicaSet={set}&directConnection=false"
Answer = Callable[[dns.message.Message], None]


class NameServer(asyncio.DatagramProtocol):
    """Answers as `answer` has it; not at all without one."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.answer is None:
            return
        reply = dns.message.make_response(dns.message.from_wire(data))
        self.answer(reply)
        self._transport.sendto(reply.to_wire(), addr)


@asynccontextmanager
async def name_server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NameServer]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], transport.get_extra_info("sockname")[1]
    monkeypatch.setattr(dns.asyncresolver, "default_resolver", resolver)
    try:
        yield server
    finally:
        transport.close()


def fails(reply: dns.message.Message) -> None:
    reply.set_rcode(dns.rcode.SERVFAIL)


def knows_no_such_name(reply: dns.message.Message) -> None:
    reply.set_rcode(dns.rcode.NXDOMAIN)


def finds(host: str, port: int) -> Answer:
    def answer(reply: dns.message.Message) -> None:
        question = reply.question[0]
        if dns.rdatatype.to_text(question.rdtype) == "SRV":
            reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", "SRV", f"0 0 {port} {host}."))

    return answer


@pytest.mark.slow
async def test_a_name_service_that_fails_is_waited_for_and_the_same_client_goes_on(
    mongodb: RunningMongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(mongodb.uri.split("/?")[0].rpartition(":")[2])
    async with name_server(monkeypatch) as server:
        client = make_client(URI.format(set="rs0"))
        try:
            server.answer = fails
            for _ in range(2):
                with pytest.raises(Retryable), translated():
                    await client.admin.command("ping")
            server.answer = finds("localhost.sevenp.test", port)
            with pytest.raises(Retryable, match=r"localhost\.sevenp\.test"), translated():
                await client.admin.command("ping")  # found, but the test has no such machine
        finally:
            await driver.close(client)


@pytest.mark.slow
async def test_a_name_service_that_is_silent_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with name_server(monkeypatch):
        client = make_client(URI.format(set="rs0"))
        try:
            with pytest.raises(Retryable), translated():
                await client.admin.command("ping")
        finally:
            await driver.close(client)


async def test_a_name_that_does_not_exist_is_a_setting_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    async with name_server(monkeypatch) as server:
        server.answer = knows_no_such_name
        client = make_client(URI.format(set="rs0"))
        try:
            with pytest.raises(Misconfigured), translated():
                await client.admin.command("ping")
        finally:
            await driver.close(client)
