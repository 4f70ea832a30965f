"""A worker whose way to MongoDB breaks under load: it waits, says so, stays alive, and misses nothing."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from tests.chaos.breaks import SILENT, Break, batch, crawl, going_through, half_open, refuse, reset, swallow
from tests.chaos.proxy import Proxy, proxied
from tests.chaos.running_worker import flowing, settings, started, working
from tests.conftest import RunningMongo
from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.waiting import until
from worker.app.exits import ExitCode
from worker.app.supervision import CLOSING_S
from worker.storage.database import Database
from worker.verify.run import verify

DRAIN_S = 4.0
# For what a busy machine takes on top.
BUSY_S = 20.0


@asynccontextmanager
async def way_to(mongodb: RunningMongo) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before the server, and the URI that leads through it."""
    [(_, port)] = parse_uri(mongodb.uri)["nodelist"]
    assert port is not None
    async with proxied(port) as proxy:
        yield proxy, f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true"


@pytest.mark.parametrize("breaks", [refuse, reset, half_open, swallow, crawl])
@pytest.mark.long
async def test_a_broken_way_to_mongodb_costs_time_and_nothing_else(
    database: Database,
    mongodb: RunningMongo,
    kafka: str,
    topic: str,
    tmp_path: Path,
    breaks: Break,
) -> None:
    async with (
        way_to(mongodb) as (proxy, uri),
        working(settings(uri, database, kafka, topic), tmp_path / "worker.log") as worker,
        going_through(breaks, proxy, worker, database, kafka) as published,
    ):
        if breaks in SILENT:
            assert await worker.sum("mongodb_retries_total") >= 1
    await assert_exactly_once(database, published, voids=None)
    assert (await verify(database, quiescent=True)).finding_counts == {}


async def election(database: Database) -> object:
    """Which election made the primary; None while there is none."""
    try:
        hello = await database.client.admin.command("hello")
    except PyMongoError:
        return None
    return hello.get("electionId") if hello["isWritablePrimary"] else None


@pytest.mark.long
async def test_a_primary_that_steps_down_is_waited_for(
    database: Database, mongodb: RunningMongo, kafka: str, topic: str, tmp_path: Path
) -> None:
    async with working(settings(mongodb.uri, database, kafka, topic), tmp_path / "worker.log") as worker:
        async with flowing(kafka, topic, batch) as published:
            await worker.until_processed(100)
            for round_ in (1, 2):
                before = await election(database)
                await database.client.admin.command(
                    {"replSetStepDown": 4, "secondaryCatchUpPeriodSecs": 0, "force": True}
                )

                async def elected(before: object = before) -> bool:
                    return await election(database) not in (None, before)

                await until(elected, f"an election after step-down {round_}")
                stored = int(await worker.sum("events_processed_total"))
                await worker.until_processed(stored + 1)
        await worker.until_quiescent(database, kafka, len(published))
    await assert_exactly_once(database, published, voids=None)
    assert (await verify(database, quiescent=True)).finding_counts == {}


@pytest.mark.parametrize("breaks", [half_open, swallow])
@pytest.mark.long
async def test_a_worker_told_to_stop_while_nobody_answers_ends_in_time(
    database: Database,
    mongodb: RunningMongo,
    kafka: str,
    topic: str,
    tmp_path: Path,
    breaks: Break,
) -> None:
    async with way_to(mongodb) as (proxy, uri):
        chosen = {
            **settings(uri, database, kafka, topic),
            "SEVENP_DRAIN_DEADLINE_S": str(DRAIN_S),
            "SEVENP_NOTIFY_SEND_TIMEOUT_S": "2",
        }
        async with (
            started(chosen, tmp_path / "worker.log") as worker,
            flowing(kafka, topic, batch) as published,
        ):
            await worker.until_processed(100)
            breaks(proxy)
            await worker.until_status("readyz", 503)
            worker.process.popen.terminate()
            told = time.monotonic()
            await until(lambda: worker.process.returncode is not None, "the worker has ended")
            assert time.monotonic() - told < DRAIN_S + CLOSING_S + BUSY_S
            assert worker.process.returncode in (ExitCode.OK, ExitCode.DRAIN_OVERDUE)
        proxy.heal()
        # What the first one left in the server (an open transaction, leases, a session) hinders nobody.
        async with working(chosen, tmp_path / "next.log") as worker:
            await worker.until_quiescent(database, kafka, len(published))
    await assert_exactly_once(database, published, voids=None)
    assert (await verify(database, quiescent=True)).finding_counts == {}
