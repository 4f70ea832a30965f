"""Ingest tells those who follow what it stores whether it is behind."""

import pytest

from tests.support.failpoints import failing
from tests.support.ingest import event, options, records, running, send
from worker import backlog
from worker.backlog import Backlog
from worker.gate import Gate, Switches
from worker.storage.database import Database
from worker.timing import SystemClock

GAVE_UP = 262
WAITING = 40


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Backlog:
    """A backlog for which few records are many."""
    monkeypatch.setattr(backlog, "_RECORDS", WAITING)
    return Backlog(SystemClock())


async def test_what_waits_is_told_and_that_it_does_not_wait_any_more(
    watched: Database, kafka: str, topic: str, told: Backlog
) -> None:
    async with running(watched, options(kafka, topic), backlog=told) as ingest:
        await ingest.until_assigned(4)
        assert not told.is_large
        async with failing(watched, ["insert"], code=GAVE_UP, times=1_000_000, collection="course_events"):
            for _ in range(3):  # the embedded broker answers with the begin of the last batch
                some = [event(number) for number in range(WAITING)]
                await send(kafka, topic, records(some, partition=2))
            await ingest.until(lambda: told.is_large, "it is behind")
        await ingest.until_processed(3 * WAITING)
        await ingest.until(lambda: not told.is_large, "it is not behind any more")


@pytest.mark.parametrize(
    "switches", [Switches(roles=frozenset({"ingest"})), Switches(rates={"ingest_per_s": 1})]
)
async def test_what_an_operator_holds_back_is_no_backlog(
    database: Database, kafka: str, topic: str, told: Backlog, switches: Switches
) -> None:
    for _ in range(3):
        await send(kafka, topic, records([event(number) for number in range(WAITING)], partition=2))
    async with running(database, options(kafka, topic), gate=Gate(switches), backlog=told) as ingest:
        await ingest.until_assigned(4)
        await ingest.lives_on("ingest", 3.0)
        assert not told.is_large


async def test_an_ingest_that_ended_is_not_behind(
    watched: Database, kafka: str, topic: str, told: Backlog
) -> None:
    async with (
        failing(watched, ["insert"], code=GAVE_UP, times=1_000_000, collection="course_events"),
        running(watched, options(kafka, topic), backlog=told) as ingest,
    ):
        await ingest.until_assigned(4)
        for _ in range(3):
            await send(kafka, topic, records([event(number) for number in range(WAITING)], partition=2))
        await ingest.until(lambda: told.is_large, "it is behind")
        await ingest.kill()
        assert not told.is_large
