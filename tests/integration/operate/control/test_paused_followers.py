"""Followers, projections and single streams, paused under load: what stands still, what goes on, and the same end."""

from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.integration.test_third_projection import CATALOGUE, agrees, all_of
from tests.support.clocks import ManualClock
from tests.support.failpoints import failing
from tests.support.followers import working
from tests.support.progress import (
    documents,
    expected,
    highest_versions,
    histories,
    interleaved,
    running,
    store,
)
from tests.support.running import RunningRole
from worker.app.roles import Dependencies, build_roles
from worker.contract.identity import stream_object_id
from worker.gate import OPEN, Gate, Switches
from worker.operate.control import commands
from worker.operate.control.targets import Target
from worker.settings import RoleName, load_settings
from worker.storage.database import Database, Document, open_database
from worker.storage.schema import apply_schema
from worker.storage.work_items import fold_item_id
from worker.telemetry.health import Health
from worker.telemetry.metrics import Metrics
from worker.verify.run import verify
from worker.watch.folds.failed_streams import PAUSED
from worker.watch.roles import Together


@pytest.fixture
async def own(database: Database) -> Database:
    """The database with a projection of each kind beside the platform's."""
    opened = open_database(database.client, database.prefix, CATALOGUE)
    await apply_schema(opened)
    return opened


def _paused(**switches: Sequence[str]) -> Switches:
    held: dict[str, Any] = {name: frozenset(some) for name, some in switches.items()}
    return Switches(**held)


@pytest.mark.parametrize(
    "lost", [False, True], ids=["from its token", "by comparing, the oplog has rolled past"]
)
async def test_a_paused_role_stands_still_through_a_restart_and_goes_on(
    database: Database, watched: Database, lost: bool
) -> None:
    streams, gate = histories(learners=12, events=9), Gate()
    async with running(watched, checked_by=database, gate=gate) as watcher:
        await watcher.until_following()
        await store(database, interleaved(streams, 1, 3))
        await watcher.until_current()
        gate.turn(_paused(roles=["progress"]))
        await watcher.until(lambda: watcher.groups_held() == 0, "the groups are given back")
        before = await documents(database)
        await store(database, interleaved(streams, 4, 6))
        await watcher.lives_on("progress")
        assert await documents(database) == before
    async with running(watched, checked_by=database, gate=gate) as watcher:
        await watcher.lives_on("progress")
        assert (watcher.groups_held(), await documents(database)) == (0, before)
        await store(database, interleaved(streams, 7))
        if lost:
            async with failing(watched, ["aggregate"], code=286, collection="course_events"):
                gate.turn(OPEN)
                await watcher.until(lambda: watcher.restarts("history_lost") >= 1, "history lost")
        gate.turn(OPEN)
        await watcher.until_current()
        assert lost or watcher.restarts("history_lost") == 0
        assert lost or watcher.applied() == 12 * 6  # nothing twice


async def test_its_only_projection_paused_a_follower_rests(database: Database) -> None:
    streams, gate = histories(learners=4, events=6), Gate(_paused(projections=["progress", "counts"]))
    await store(database, interleaved(streams))
    async with running(database, gate=gate) as watcher:
        await watcher.lives_on("progress")
        assert (watcher.groups_held(), await documents(database)) == (0, {})
        gate.turn(_paused(projections=["counts"]))
        await watcher.until_current()


@pytest.mark.slow
async def test_a_rate_of_documents_is_kept(database: Database) -> None:
    streams = histories(learners=300, events=2)
    gate = Gate(Switches(rates={"progress_per_s": 100.0}))
    async with running(database, gate=gate) as watcher:
        await watcher.until_following()
        clock = watcher.role._clock  # noqa: SLF001
        await store(database, interleaved(streams))
        began = clock.monotonic()
        await watcher.until_current()
        # Two versions of a document that are folded at once count once.
        assert clock.monotonic() - began >= (300 - 100) / 100 - 0.5


@pytest.mark.slow
async def test_a_rate_of_documents_is_kept_while_catching_up(database: Database) -> None:
    await store(database, interleaved(histories(learners=1_200, events=1)))
    gate = Gate(Switches(rates={"progress_per_s": 400.0}))
    async with running(database, gate=gate) as watcher:
        clock = watcher.role._clock  # noqa: SLF001
        began = clock.monotonic()
        await watcher.until_current()
        assert clock.monotonic() - began >= (1_000 - 400) / 400 - 0.5  # the last 200 are a part of their own


async def test_however_low_the_rate_the_change_stream_is_heard_while_catching_up(database: Database) -> None:
    await store(database, interleaved(histories(learners=60, events=1)))
    gate = Gate(Switches(rates={"progress_per_s": 2.0}))
    async with running(database, gate=gate) as watcher:
        await watcher.until(lambda: database.user_progress.count_documents({}), "it has begun")
        assert await database.user_progress.count_documents({}) < 10
        heard = watcher.heard_at()
        await watcher.until(lambda: watcher.heard_at() > heard, "the change stream speaks")
        assert await database.user_progress.count_documents({}) < 20


async def test_the_followers_of_one_role_share_its_rate(
    own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEVENP_ROLES", "counts")
    monkeypatch.setenv("SEVENP_MONGODB_URI", "mongodb://127.0.0.1")
    clock, gate = ManualClock(), Gate(Switches(rates={"counts_per_s": 100.0}))
    given = Dependencies(own, clock, Metrics(CollectorRegistry(), CATALOGUE), Health(clock), gate=gate)
    [counts] = [each for each in build_roles(load_settings(), given, []) if each.name == RoleName.COUNTS]
    assert isinstance(counts, Together)
    records, models = counts.followers
    records._rate.spend(1_000)  # noqa: SLF001
    assert models._rate.free_in_s() > 0  # noqa: SLF001


async def _one_paused(
    own: Database, monkeypatch: pytest.MonkeyPatch, name: str, stands: Sequence[str]
) -> None:
    """Pause a projection under load; the collections named stand still, and the others do not; then it goes on."""
    streams, gate = histories(learners=6, events=9), Gate()
    await store(own, interleaved(streams, 1, 3))
    async with working(own, monkeypatch, gate) as worker:
        await worker.until(lambda: agrees(own), "all have caught up")
        gate.turn(_paused(projections=[name]))
        await worker.lives_on("progress")
        await worker.lives_on("counts")
        before = {each: await all_of(own, each) for each in stands}
        await store(own, interleaved(streams, 4, 6))
        await worker.until(lambda: _followed(own, name), "the others go on")
        assert {each: await all_of(own, each) for each in stands} == before
    async with working(own, monkeypatch, gate) as worker:
        await store(own, interleaved(streams, 7))
        await worker.until(lambda: _followed(own, name), "the others go on after a restart")
        assert {each: await all_of(own, each) for each in stands} == before
        gate.turn(OPEN)
        await worker.until(lambda: agrees(own), "it has caught up")
        await worker.until(lambda: _progress_is_right(own), "the other ones, too")
    found = await verify(own, quiescent=True)
    ours = {"activity", "totals", "board"}
    assert [each for each in found.findings if each.kind in ours] == []


async def _progress_is_right(own: Database) -> bool:
    return await documents(own) == await expected(own)


async def _followed(own: Database, paused: str) -> bool:
    """Everything that does not follow from what is paused is as the events say."""
    heads = await highest_versions(own)
    shown = {"progress": "user_progress", "activity": "activity"}
    for name, collection in shown.items():
        if name != paused:
            rows = await own.collection(collection).find({}, {"stream_id": 1, "version": 1}).to_list(None)
            if {row["stream_id"]: row["version"] for row in rows} != heads:
                return False
    if paused == "totals":
        return await _views_follow(own)
    return paused != "board" or await _sums_follow(own)


async def _views_follow(own: Database) -> bool:
    most = {key: view["most"] for key, view in (await all_of(own, "activity_board")).items()}
    return most == {course: max(some) for course, some in (await _by_course(own)).items()}


async def _sums_follow(own: Database) -> bool:
    sums = {key: row["events"] for key, row in (await all_of(own, "course_activity")).items()}
    return sums == {course: sum(some) for course, some in (await _by_course(own)).items()}


async def _by_course(own: Database) -> dict[Any, list[int]]:
    courses: dict[Any, list[int]] = {}
    for each in (await all_of(own, "activity")).values():
        courses.setdefault(each["course_id"], []).append(each["events"])
    return courses


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stands"),
    [
        ("activity", ["activity", "activity_board", "course_activity"]),
        ("totals", ["course_activity", "activity_counted"]),
        ("progress", ["user_progress", "user_progress_projections"]),
    ],
    ids=["a fold", "a sum", "the platform's fold"],
)
async def test_a_paused_projection_stands_still_and_catches_up_alone(
    own: Database, monkeypatch: pytest.MonkeyPatch, name: str, stands: Sequence[str]
) -> None:
    await _one_paused(own, monkeypatch, name, stands)


async def _item(own: Database, stream: str) -> Document | None:
    found: Document | None = await own.analytics_queue.find_one({"_id": fold_item_id(stream)})
    return found


@pytest.mark.slow
async def test_a_paused_stream_waits_in_the_queue_and_is_folded_when_it_is_resumed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams, gate = histories(learners=5, events=9), Gate()
    chosen = sorted(streams)[0]
    identity = stream_object_id(chosen)
    await store(database, interleaved(streams, 1, 3))
    async with working(database, monkeypatch, gate) as worker:
        await worker.until(lambda: _progress_is_right(database), "all have caught up")
        gate.turn(_paused(streams=[chosen]))
        before = await database.user_progress.find_one({"_id": identity})
        await store(database, interleaved(streams, 4, 6))
        await worker.until(lambda: _all_but(database, chosen, 6), "the others are folded")
        await worker.until(lambda: _item(database, chosen), "an item says that it waits")
        await _stands(worker, database, chosen, before)
    async with working(database, monkeypatch, gate) as worker:
        await store(database, interleaved(streams, 7))
        await worker.until(lambda: _all_but(database, chosen, 9), "the others are folded after a restart")
        await _stands(worker, database, chosen, before)
        gate.turn(OPEN)
        assert not await commands.resume(database, Target("stream", chosen), "production")
        await worker.until(lambda: _progress_is_right(database), "it is folded")
        await worker.until(lambda: _counted(database), "it is counted")
        await worker.until(lambda: _is_done(database, chosen), "its item is completed")


async def _stands(worker: RunningRole, database: Database, stream: str, before: Document | None) -> None:
    """Its document is as it was, though the queue's role has had its turns; and its item waits."""
    await worker.lives_on("retry")
    assert await database.user_progress.find_one({"_id": stream_object_id(stream)}) == before
    item = await _item(database, stream)
    assert item is not None
    assert (item["error_class"], item["status"] in ("pending", "processing")) == (PAUSED, True)
    assert item["retry_count"] <= 1


async def _all_but(database: Database, stream: str, version: int) -> bool:
    rows = await database.user_progress.find({}, {"stream_id": 1, "version": 1}).to_list(None)
    return {row["version"] for row in rows if row["stream_id"] != stream} == {version}


async def _counted(database: Database) -> bool:
    """Every record is counted as it stands."""
    records = {row["_id"]: row["rev"] for row in await database.user_progress.find({}).to_list(None)}
    rows = await database.user_progress_projections.find({}).to_list(None)
    return {row["_id"]: row["source_rev"] for row in rows} == records


async def _is_done(database: Database, stream: str) -> bool:
    item = await _item(database, stream)
    return item is not None and item["status"] == "completed"


@pytest.mark.slow
async def test_a_stream_whose_document_is_lost_while_it_is_paused_is_made_again_when_it_is_resumed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams, gate = histories(learners=3, events=4), Gate()
    chosen = sorted(streams)[0]
    await store(database, interleaved(streams))
    async with working(database, monkeypatch, gate) as worker:
        await worker.until(lambda: _counted_all(database, 3), "all have caught up")
        gate.turn(_paused(streams=[chosen]))
        await database.user_progress.delete_one({"_id": stream_object_id(chosen)})
        await worker.until(lambda: _item(database, chosen), "its loss is noticed, and it waits")
        await worker.lives_on("retry")
        assert await database.user_progress.count_documents({}) == 2
        gate.turn(OPEN)
        await commands.resume(database, Target("stream", chosen), "production")
        await worker.until(lambda: _counted_all(database, 3), "it is made again, and counted")


async def _counted_all(database: Database, number: int) -> bool:
    return await database.user_progress.count_documents({}) == number and await _counted(database)
