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
FOR_EVER_S = 3_600.0


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Backlog:
    """A backlog for which few records are many, and that believes what it is told."""
    monkeypatch.setattr(backlog, "_RECORDS", WAITING)
    monkeypatch.setattr(backlog, "_BELIEVED_S", FOR_EVER_S)
    return Backlog(SystemClock())


async def send_more_than_once(kafka: str, topic: str) -> None:
    """The embedded broker answers with the begin of the last batch: what lies before is known to wait."""
    for _ in range(3):
        await send(kafka, topic, records([event(number) for number in range(WAITING)], partition=2))


async def test_what_waits_is_told_and_that_it_does_not_wait_any_more(
    watched: Database, kafka: str, topic: str, told: Backlog
) -> None:
    await send_more_than_once(kafka, topic)
    async with (
        failing(
            watched, ["insert"], code=GAVE_UP, times=1_000_000, collection="course_events"
        ) as end_failing,
        running(watched, options(kafka, topic), backlog=told) as ingest,
    ):
        await ingest.until(lambda: told.is_large, "it is behind")
        await end_failing()
        await ingest.until_processed(3 * WAITING)
        await ingest.until(lambda: not told.is_large, "it is not behind any more")


async def test_what_an_operator_has_slowed_down_is_no_backlog(
    database: Database, kafka: str, topic: str, told: Backlog
) -> None:
    await send_more_than_once(kafka, topic)
    gate = Gate(Switches(rates={"ingest_per_s": 1}))
    async with running(database, options(kafka, topic), gate=gate, backlog=told) as ingest:
        await ingest.until_processed(2)
        assert not told.is_large


async def test_what_an_operator_has_paused_is_no_backlog_any_more(
    watched: Database, kafka: str, topic: str, told: Backlog
) -> None:
    gate = Gate()
    await send_more_than_once(kafka, topic)
    async with (
        failing(
            watched, ["insert"], code=GAVE_UP, times=1_000_000, collection="course_events"
        ) as end_failing,
        running(watched, options(kafka, topic), gate=gate, backlog=told) as ingest,
    ):
        await ingest.until(lambda: told.is_large, "it is behind")
        gate.turn(Switches(roles=frozenset({"ingest"})))
        await send_more_than_once(kafka, topic)
        await end_failing()
        await ingest.until(lambda: not told.is_large, "nothing waits that is read")


async def test_an_ingest_that_ended_is_not_behind(
    watched: Database, kafka: str, topic: str, told: Backlog
) -> None:
    await send_more_than_once(kafka, topic)
    async with (
        failing(watched, ["insert"], code=GAVE_UP, times=1_000_000, collection="course_events"),
        running(watched, options(kafka, topic), backlog=told) as ingest,
    ):
        await ingest.until(lambda: told.is_large, "it is behind")
        await ingest.kill()
        assert not told.is_large
