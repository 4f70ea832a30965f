"""A pass over everything that is interrupted goes on where it stood."""

import asyncio
import uuid

import pytest

from projections.progress.projection import PROGRESS
from tests.support.progress import SETTINGS, documents, expected, histories, interleaved, running, store
from tests.support.settings import changed
from tests.support.waiting import until
from worker.storage.database import Database
from worker.storage.shares import GROUPS
from worker.telemetry.health import Health
from worker.telemetry.metrics import Metrics
from worker.timing import SystemClock, cancel_and_wait
from worker.watch import roles
from worker.watch.folds import catch_up
from worker.watch.folds.catch_up import behind
from worker.watch.folds.executor import Heads
from worker.watch.follower import Follower, Interrupted, StreamSession

ALL = dict.fromkeys(range(GROUPS), (PROGRESS.name,))


class Restless(Follower[Heads]):
    """In a fleet whose shares change with every page it compares."""

    changes = 0
    _calls = 0

    async def _share_changed(self, session: StreamSession) -> bool:
        self._calls += 1
        if self._calls % 2:
            return await super()._share_changed(session)
        self.changes += 1
        return True


@pytest.mark.slow
async def test_a_pass_comes_to_its_end_though_the_share_changes_with_every_page(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up, "STREAMS_PER_PAGE", 5)
    await store(database, interleaved(histories(learners=60, events=2)))
    clock, metrics, stop = SystemClock(), Metrics(), asyncio.Event()
    monkeypatch.setattr(roles, "Follower", Restless)
    component = Health(clock).component("progress")
    settings = changed(SETTINGS, renewals_per_lease=SETTINGS.lease_s / 3.0)
    role = roles.event_follower(
        roles.Watcher(database, clock, component, metrics, settings, uuid.uuid4().hex)
    )
    task = asyncio.create_task(role.run(stop))

    async def folded() -> bool:
        return await documents(database) == await expected(database)

    try:
        await until(folded, "everything folded")
        assert isinstance(role, Restless)
        assert 10 <= role.changes <= 30
    finally:
        await cancel_and_wait(task)


async def test_of_resumed_groups_only_the_streams_below_are_compared(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up, "STREAMS_PER_PAGE", 7)
    await store(database, interleaved(histories(learners=40, events=1)))
    everything = [page async for page in behind(database, (PROGRESS,), ALL)]
    streams = [stream for page in everything for stream in page.heads["progress"]]
    assert streams == sorted(streams, reverse=True)
    middle = everything[2].below
    assert middle is not None

    rest = [
        s
        async for page in behind(database, (PROGRESS,), ALL, dict.fromkeys(range(GROUPS), middle))
        for s in page.heads["progress"]
    ]
    assert rest == [stream for stream in streams if stream < middle]

    half = dict.fromkeys(range(GROUPS // 2), middle)
    mixed = {s async for page in behind(database, (PROGRESS,), ALL, half) for s in page.heads["progress"]}
    assert set(rest) < mixed < set(streams)


def test_a_group_that_somebody_else_had_meanwhile_begins_again() -> None:
    came = Interrupted({1: (4, "m"), 2: (7, "k")}, {"_data": "82"})
    assert came.resumed({1: 4, 2: 8, 3: 1}) == {1: "m"}


async def test_an_event_altered_past_its_validator_costs_only_its_own_stream(database: Database) -> None:
    streams = histories(learners=5, events=4)
    await store(database, interleaved(streams))
    nameless, misnumbered, *others = streams
    for stream, change in (
        (nameless, {"$unset": {"stream_id": 1}}),
        (misnumbered, {"$set": {"version": "4"}}),
    ):
        await database.content.command(
            "update",
            "course_events",
            updates=[{"q": {"stream_id": stream, "version": 4}, "u": change}],
            bypassDocumentValidation=True,
        )
    async with running(database) as watcher:

        async def folded() -> bool:
            found = await documents(database)
            return {stream: each["version"] for stream, each in found.items()} == {
                nameless: 3,
                misnumbered: 3,
                **dict.fromkeys(others, 4),
            }

        await watcher.until(folded, "everything that can be")
        await store(database, interleaved(histories(learners=1, events=2, prefix="late")))
        await watcher.until(lambda: _has(database, 6), "what comes later")
        assert watcher.restarts("resumable") == 0


async def test_a_hole_in_a_stream_of_no_known_kind_costs_only_that_stream(database: Database) -> None:
    streams = histories(learners=2, events=3)
    (stranger,) = histories(learners=1, events=3, prefix="stranger").values()
    strange = [
        {**event, "_id": uuid.uuid4(), "stream_id": "foo", "version": version}
        for event, version in zip(stranger, (1, 3, 5), strict=True)
    ]
    async with running(database) as watcher:
        await store(database, [*strange, *interleaved(streams)])
        await watcher.until(lambda: _has_item(database, "progress:foo"), "the strange stream is quarantined")
        await store(database, interleaved(histories(learners=1, events=2, prefix="late")))
        await watcher.until(lambda: _is_folded(database, {*streams}, 3), "all others are folded")
        await watcher.until(lambda: _late(database), "what comes later")
    assert await database.course_events.count_documents({"stream_id": "foo"}) == 3


async def _has_item(database: Database, name: str) -> bool:
    return await database.analytics_queue.count_documents({"_id": name}) == 1


async def _is_folded(database: Database, streams: set[str], version: int) -> bool:
    found = await documents(database)
    return all(found.get(stream, {}).get("version") == version for stream in streams)


async def _late(database: Database) -> bool:
    (stream,) = histories(learners=1, events=2, prefix="late")
    return await _is_folded(database, {stream}, 2)


async def _has(database: Database, number: int) -> bool:
    return await database.user_progress.count_documents({}) == number
