"""The ways in which a wire breaks, as scripts of a proxy, and a worker that goes through one of them."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.chaos.proxy import Proxy
from tests.chaos.running_worker import RunningWorker, flowing
from tests.support.ingest import event
from worker.storage.database import Database

Break = Callable[[Proxy], None]

# Longer than the driver's selection of a server (5 s), than a short session of Kafka's, than rounds of back-off.
AWAY_S = 12.0


def refuse(proxy: Proxy) -> None:
    """Nobody listens any more, and those who talked were hung up on."""
    proxy.refusing = True
    proxy.cut()


def reset(proxy: Proxy) -> None:
    """Every connection is cut, new ones are welcome."""
    proxy.cut()


def half_open(proxy: Proxy) -> None:
    """Commands arrive and are done; the answers are lost, and no connection ends."""
    proxy.to_client.becomes("drop")


def swallow(proxy: Proxy) -> None:
    """A black hole: nothing arrives anywhere, and no connection ends."""
    proxy.to_server.becomes("hold")
    proxy.to_client.becomes("hold")


def crawl(proxy: Proxy) -> None:
    """Every portion of bytes to the server is five seconds late."""
    proxy.to_server.becomes("pass", delay_s=5.0)


def lag(proxy: Proxy) -> None:
    """Half a second late."""
    proxy.to_server.becomes("pass", delay_s=0.5)


# Nothing comes back: the other end is away, and the worker says so.
SILENT: tuple[Break, ...] = (refuse, half_open, swallow)


def batch() -> list[dict[str, object]]:
    return [event(number % 40) for number in range(20)]


@asynccontextmanager
async def going_through(
    breaks: Break, proxy: Proxy, worker: RunningWorker, database: Database, kafka: str
) -> AsyncIterator[list[Mapping[str, Any]]]:
    """Break the way under load; the block looks at a worker that has lived with it for a while. Then it heals.

    Gives what was published; after the block all of it is stored, folded and counted.
    """
    async with flowing(kafka, worker.topic, batch) as published:
        await worker.until_processed(100)
        breaks(proxy)
        if breaks in SILENT:
            await worker.until_status("readyz", 503)
        await worker.stays_alive(AWAY_S)
        if proxy.to_server.delay_s:  # slow is not away
            processed = int(await worker.sum("events_processed_total"))
            assert processed >= 100
            await worker.until_processed(processed + 1)
            assert proxy.to_server.delayed_bytes > 0
        yield published
    proxy.heal()
    await worker.until_quiescent(database, kafka, len(published))
    await worker.until_status("readyz", 200)
