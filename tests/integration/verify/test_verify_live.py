"""Verify reports nothing about work in progress: a store that grows under it, and events just written."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from bson.codec_options import CodecOptions
from pymongo import MongoClient, monitoring

from projections.event import StoredEvent
from projections.progress import fold
from tests.conftest import RunningMongo
from tests.integration.verify.history import Learner, learner, progress_of, store, stored_events, without
from worker.storage.database import CODEC_OPTIONS, Database, Document, make_client, open_database
from worker.storage.documents import interaction_row
from worker.storage.driver import close
from worker.timing import SystemClock
from worker.verify import reading
from worker.verify.run import YOUNG, verify

EVENTS = 12
LIMIT = 60


def now() -> datetime:
    """Of this test, not of the session's start: what is young ages within a minute."""
    return SystemClock().now()


class Growth(monitoring.CommandListener):
    """Stores one more event of a learner, its row and its fold, before every single read of the check.

    Up to LIMIT times: a stream that grows faster than it is read would never end.
    """

    def __init__(self, client: "MongoClient[Document]", prefix: str, grown: Learner) -> None:
        options: CodecOptions[Document] = CODEC_OPTIONS
        self._content = client.get_database(f"{prefix}_content", options)
        self._analytics = client.get_database(f"{prefix}_analytics", options)
        self._progress = grown.progress
        self.versions = len(grown.events)

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name != "find" or self.versions >= LIMIT:
            return
        self.versions += 1
        (stored,) = stored_events("grown", [self.versions], SystemClock().now())
        self._content.course_events.insert_one(stored)
        self._analytics.user_interactions.insert_one(interaction_row(stored))
        self._progress = {
            **self._progress,
            **fold(self._progress, [StoredEvent.from_document(stored)], "live"),
        }
        self._content.user_progress.replace_one({"_id": self._progress["_id"]}, self._progress)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to do."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to do."""


@pytest.fixture
def writer(mongodb: RunningMongo) -> Iterator["MongoClient[Document]"]:
    """A second client, for the history that goes on."""
    with MongoClient[Document](mongodb.uri) as client:
        yield client


@pytest.fixture
async def growing(
    mongodb: RunningMongo, database: Database, writer: "MongoClient[Document]"
) -> AsyncIterator[tuple[Database, Growth]]:
    """A handle whose every read finds the history longer than the one before."""
    grown = learner("grown")
    await store(database, [learner("ada"), grown, learner("zoe")])
    growth = Growth(writer, database.prefix, grown)
    client = make_client(mongodb.uri, listeners=[growth])
    yield open_database(client, prefix=database.prefix), growth
    await close(client)


@pytest.mark.parametrize("page", [1_000, 5])
async def test_a_store_that_grows_between_any_two_reads_is_ok(
    growing: tuple[Database, Growth], page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, growth = growing
    monkeypatch.setattr(reading, "PAGE_EVENTS", page)

    verification = await verify(database)

    assert verification.ok, verification.findings
    assert growth.versions > EVENTS + 5


async def test_a_grown_store_is_ok_when_it_is_quiescent(
    growing: tuple[Database, Growth], database: Database
) -> None:
    await verify(growing[0])

    quiescent = await verify(database, quiescent=True)

    assert quiescent.ok, quiescent.findings
    assert quiescent.counts["events"] == 2 * EVENTS + growing[1].versions


async def test_an_event_just_stored_may_still_wait_for_its_row(database: Database) -> None:
    target, rows = _with_late_event(learner("vic"), now())
    await store(database, [target], {target.stream: rows})

    live, quiescent = await verify(database), await verify(database, quiescent=True)

    assert (live.ok, live.counts["in_flight"]) == (True, 1)
    assert quiescent.finding_counts == {"row_missing": 1}


async def test_an_event_stored_a_while_ago_must_have_its_row(database: Database) -> None:
    target, rows = _with_late_event(learner("vic"), now() - YOUNG - timedelta(seconds=1))
    await store(database, [target], {target.stream: rows})

    assert (await verify(database)).finding_counts == {"row_missing": 1}


async def test_a_hole_below_an_event_just_stored_may_still_be_filled(database: Database) -> None:
    late = stored_events("vic", [14], now())
    target = learner("vic")
    await store(database, [replace(target, events=(*target.events, *late))])

    live, quiescent = await verify(database), await verify(database, quiescent=True)

    assert (live.ok, live.counts["in_flight"]) == (True, 1)
    assert quiescent.finding_counts == {"version_hole": 1, "progress_behind": 1}


async def test_a_young_neighbour_does_not_excuse_an_old_hole(database: Database) -> None:
    target = without(learner("vic", void_at=None), 6)
    late = stored_events("vic", [13], now())
    grown = replace(target, events=(*target.events, *late))
    await store(database, [grown])

    assert (await verify(database)).finding_counts == {"version_hole": 1}


def _with_late_event(learner: Learner, recorded_at: Any) -> tuple[Learner, list[Document]]:
    """The learner with one more event that has no row."""
    late = stored_events("vic", [EVENTS + 1], recorded_at)
    events = (*learner.events, *late)
    return replace(learner, events=events, progress=progress_of(events)), learner.rows
