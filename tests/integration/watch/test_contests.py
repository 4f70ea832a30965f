"""Contests on a real server: who has what is a function of the documents, whatever happens on the way there."""

import asyncio
import random
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from bson import ObjectId
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict, Field
from structlog.testing import capture_logs

from projections.catalogue import CATALOGUE
from projections.claims import claims_contest
from projections.kinds import Catalogue, Document, Index, StreamProjection, Target
from projections.progress.projection import PROGRESS
from tests.support.counts import SETTINGS, dependencies
from tests.support.running import RunningRole, run
from worker.errors import Retryable
from worker.retry.depths import measure
from worker.storage.database import Database, open_database
from worker.storage.model_bases import absent
from worker.storage.schema import apply_schema
from worker.storage.work_items import Item, event_types
from worker.telemetry.health import Health
from worker.telemetry.labels import QUEUE_STATES
from worker.telemetry.metrics import Metrics
from worker.timing import SystemClock
from worker.verify.contests_check import check_contest
from worker.verify.findings import Finding
from worker.verify.run import Checks
from worker.watch.contests.contenders import DOCUMENT, Contenders
from worker.watch.recounting import Recount
from worker.watch.roles import Watcher, contenders, model_follower
from worker.watch.sums.attempt import Keys
from worker.watch.sums.handlers import TargetHandler

START = datetime(2024, 1, 1, tzinfo=UTC)


class Handle(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", frozen=True, arbitrary_types_allowed=True)

    handle: str = Field(default_factory=absent)


_UNIQUE = {"unique": True, "partialFilterExpression": {"handle": {"$gt": ""}}}
HANDLES = StreamProjection(
    name="handles",
    version=1,
    about=("content",),
    target=Target(
        "handles", (Handle,), (Index("handles", "idx_handles_handle_unique", (("handle", 1),), _UNIQUE),)
    ),
    paths=("claims",),
    fold=PROGRESS.fold,
    refold=PROGRESS.refold,
)
CONTEST = claims_contest("handle_claims", "handles", ("handle",))
ROWS = CONTEST.contenders.collection


@pytest.fixture
async def own(database: Database) -> Database:
    opened = open_database(
        database.client, database.prefix, Catalogue((*CATALOGUE.projections, HANDLES, CONTEST))
    )
    await apply_schema(opened)
    return opened


def identity(number: int) -> ObjectId:
    return ObjectId(f"b{number:023x}")


def engine(database: Database) -> Contenders:
    return next(each for each in contenders(dependencies(database)) if each.name == CONTEST.name)


def of(*numbers: int) -> Keys:
    return frozenset((DOCUMENT, identity(each)) for each in numbers)


def claim(number: int, at: int, value: str | None) -> Document:
    """What the fold writes for a document that claims a value since `at` seconds."""
    asked = {"value": value, "at": START + timedelta(seconds=at), "event_id": UUID(int=number)}
    return {"claims": {} if value is None else {"handle": asked}}


async def ask(database: Database, number: int, at: int, value: str | None) -> None:
    change = {"$set": claim(number, at, value)}
    await database.collection("handles").update_one({"_id": identity(number)}, change, upsert=True)


async def handles(database: Database) -> dict[int, str]:
    found = await database.collection("handles").find({"handle": {"$exists": True}}).to_list(None)
    return {
        int(str(each["_id"])[1:], 16): each["handle"] for each in found if isinstance(each["_id"], ObjectId)
    }


async def expected(database: Database) -> dict[int, str]:
    """Who must have what, from all documents."""
    found = await database.collection("handles").find({}).to_list(None)
    owners = {each["handle"]: each["_id"] for each in found if "claims" not in each and "handle" in each}
    asking = [(each["claims"]["handle"], each["_id"]) for each in found if each.get("claims")]
    for asked, name in sorted(asking, key=lambda each: (each[0]["at"], each[0]["event_id"].int)):
        owners.setdefault(asked["value"], name)
    return {int(str(name)[1:], 16): value for value, name in owners.items()}


async def items(database: Database) -> dict[str, tuple[str, str]]:
    found = await database.analytics_queue.find({"status": {"$ne": "completed"}}).to_list(None)
    return {each["_id"]: (each["error_class"], each["last_error"]) for each in found}


async def findings(database: Database) -> list[Finding]:
    checks = await Checks.opened(database, quiescent=True)
    await check_contest(checks.run, CONTEST)
    return list(checks.run.tally.findings)


async def test_to_have_lost_is_no_failure_for_whoever_looks_at_depths_and_counters(own: Database) -> None:
    given = dependencies(own)
    kept = next(each for each in contenders(given) if each.name == CONTEST.name)
    for number in (1, 2, 3):
        await ask(own, number, number, "jane")
    await kept.decide(of(1, 2, 3))
    depths = await measure(own, event_types(own.catalogue))
    assert (depths.lost, dict(depths.items), depths.oldest_item_s) == (2, dict.fromkeys(QUEUE_STATES, 0), 0.0)
    applied = {
        outcome: given.metrics.registry.get_sample_value(
            "sevenp_worker_projection_events_applied_total",
            {"projection": CONTEST.name, "mode": "live", "outcome": outcome},
        )
        for outcome in ("applied", "failed")
    }
    assert applied == {"applied": 3, "failed": 0}
    await own.collection("handles").update_one({"_id": identity(2)}, {"$set": {"claims": {"handle": 7}}})
    await kept.decide(of(2))
    undecided = await measure(own, event_types(own.catalogue))
    assert undecided.items["pending"] > 0, "that nobody can decide it is a failure"


async def test_the_earliest_claim_has_the_value_and_the_next_one_gets_it_when_it_is_free(
    own: Database,
) -> None:
    kept = engine(own)
    for number, at in ((1, 30), (2, 10), (3, 20)):
        await ask(own, number, at, "jane")
        await kept.decide(of(number))
    assert await handles(own) == {2: "jane"}
    waiting = await items(own)
    assert waiting.keys() == {f"handle_claims:{identity(each)}" for each in (1, 3)}
    assert set(waiting.values()) == {("Taken", f"its handle was claimed earlier by document {identity(2)}")}
    await ask(own, 2, 40, "john")  # the winner is called otherwise
    await kept.decide(of(2))
    assert await handles(own) == {2: "john", 3: "jane"}
    assert (await items(own)).keys() == {f"handle_claims:{identity(1)}"}
    await own.collection("handles").delete_one({"_id": identity(3)})  # and the next one is gone
    await kept.decide(of(3))
    assert await handles(own) == {1: "jane", 2: "john"}
    await ask(own, 1, 50, None)  # its account ends
    await kept.decide(of(1))
    assert await handles(own) == {2: "john"}
    assert await items(own) == {}
    assert await own.collection(ROWS).distinct("_id") == [identity(2)]
    assert await findings(own) == []


async def test_two_swap_what_they_are_called(own: Database) -> None:
    kept = engine(own)
    await ask(own, 1, 1, "a")
    await ask(own, 2, 2, "b")
    await kept.decide(of(1, 2))
    await ask(own, 1, 3, "b")
    await ask(own, 2, 4, "a")
    await kept.decide(of(1))
    assert await handles(own) == {2: "b"}, "that number 2 is called otherwise was not told yet"
    await kept.decide(of(2))
    assert await handles(own) == {1: "b", 2: "a"}
    await ask(own, 1, 5, "a")
    await ask(own, 2, 6, "b")
    await kept.decide(of(1, 2))
    assert await handles(own) == {1: "a", 2: "b"}


async def test_what_the_platform_has_it_keeps_until_it_is_free(own: Database) -> None:
    kept, documents = engine(own), own.collection("handles")
    await documents.insert_one({"_id": identity(9), "handle": "jane"})
    await ask(own, 1, 1, "jane")
    await kept.decide(of(1, 9))
    assert await handles(own) == {9: "jane"}
    [(reason, words)] = (await items(own)).values()
    assert (reason, str(identity(9)) in words) == ("Held", True)
    await documents.update_one({"_id": identity(9)}, {"$set": {"handle": "doe"}})
    await kept.decide(of(9))
    assert await handles(own) == {1: "jane", 9: "doe"}
    assert await items(own) == {}


async def test_where_nobody_sees_who_has_it_the_servers_index_is_the_last_line(own: Database) -> None:
    kept, documents = engine(own), own.collection("handles")
    await documents.insert_one({"_id": "of another service", "handle": "jane"})
    await ask(own, 1, 1, "jane")
    await ask(own, 2, 2, "john")
    await kept.decide(of(1, 2))
    assert await handles(own) == {2: "john"}
    assert await items(own) == {
        f"handle_claims:{identity(1)}": ("Refused", "handles refuses the document (code 11000)")
    }
    await documents.delete_one({"_id": "of another service"})
    handler = TargetHandler(kept.quarantine, kept.recount)
    item = Item(
        f"handle_claims:{identity(1)}",
        "handle_claims_fold",
        {"collection": "handles", "id": identity(1)},
        None,
        1,
        1,
    )
    assert await handler([item]) == {}
    assert await handles(own) == {1: "jane", 2: "john"}


async def test_any_order_and_any_number_of_workers_end_with_the_same(own: Database) -> None:
    """Changes, and three engines that decide what moved, beside each other; some are killed within a transaction."""
    chance = random.Random(7)  # noqa: S311  # a repeatable story
    moved: list[int] = []
    done = asyncio.Event()

    async def changing() -> None:
        for _ in range(120):
            number = chance.randrange(8)
            if chance.random() < 0.1:
                await own.collection("handles").delete_one({"_id": identity(number)})
            else:
                await ask(own, number, chance.randrange(1_000), chance.choice(["a", "b", "c", None]))
            moved.append(number)
        done.set()

    async def deciding(seed: int) -> None:
        dice, kept = random.Random(seed), engine(own)  # noqa: S311
        while not done.is_set():
            some = dice.sample(moved, min(len(moved), 3))
            attempt = asyncio.create_task(kept.decide(of(*some)))
            await asyncio.wait([attempt], timeout=dice.choice([0.002, 0.01, None]))
            attempt.cancel()
            with suppress(Retryable, asyncio.CancelledError):
                await attempt

    async with asyncio.TaskGroup() as group:
        group.create_task(changing())
        for seed in range(3):
            group.create_task(deciding(seed))
    kept = engine(own)
    async for page in kept.missed():
        await kept.decide(page)
    assert await handles(own) == await expected(own)
    assert [page async for page in kept.missed() if page] == []
    assert await findings(own) == []


def following(database: Database, owner: str) -> Any:
    clock, metrics = SystemClock(), Metrics(CollectorRegistry(), database.catalogue)
    component = Health(clock, metrics).component("counts")
    role = model_follower(Watcher(database, clock, component, metrics, SETTINGS, owner))
    return run(role, lambda task, stop: RunningRole(metrics, task, stop))


async def agrees(database: Database) -> bool:
    return await handles(database) == await expected(database)


async def ask_all(database: Database, numbers: Iterable[int], value: str, at: int = 0) -> None:
    for number in numbers:
        await ask(database, number, at + number, value)


async def test_a_follower_catches_up_and_follows_and_nothing_it_says_names_a_value(own: Database) -> None:
    secret = "jane.doe@example.com"  # noqa: S105  # an address
    await ask_all(own, range(5, 0, -1), secret)
    with capture_logs() as said:
        async with following(own, "first") as worker:
            await worker.until(lambda: agrees(own), "it has caught up")
            await worker.until_moved("contest_lost_documents")
            await own.collection("handles").delete_one({"_id": identity(1)})
            await worker.until(lambda: agrees(own), "what is gone is told")
            await ask(own, 2, 60, "other")
            await worker.until(lambda: agrees(own), "what changed is told")
            assert secret not in str([each.samples for each in worker.metrics.registry.collect()])
        await ask(own, 3, 70, "further")
        await own.collection("handles").insert_one({"_id": identity(9), "handle": "platform"})
        await ask(own, 4, 80, "platform")
        # The position is lost, and with it the history.
        await own.projection_state.delete_many({"watcher": "models"})
        async with following(own, "second") as worker:
            await worker.until(lambda: agrees(own), "it has compared everything")
    assert await findings(own) == []
    assert secret not in str(said)
    assert secret not in str(await own.analytics_queue.find({}).to_list(None))
    assert secret not in str(await own.collection(ROWS).find({}).to_list(None))


async def test_damage_is_found_and_a_rebuild_mends_it(own: Database) -> None:
    await ask_all(own, range(1, 4), "jane")
    await engine(own).decide(of(1, 2, 3))
    documents = own.collection("handles")
    await documents.update_one({"_id": identity(1)}, {"$unset": {"handle": ""}})
    await documents.update_one({"_id": identity(3)}, {"$set": {"handle": "stolen"}})
    await own.collection(ROWS).delete_one({"_id": identity(2)})
    await own.collection(ROWS).insert_one(
        {"_id": identity(7), "keys": ["nowhere"], "seen": b"", "contest_version": 1, "reason": None}
    )
    found = {(each.subject.split()[-1], str(each.fault)) for each in await findings(own)}
    assert found == {
        (str(identity(1)), "different"),
        (str(identity(2)), "behind"),
        (str(identity(3)), "behind"),
        (str(identity(7)), "unknown"),
    }
    again = Recount(dependencies(own), timedelta(0), [CONTEST.name])
    async for _ in again.everything(None):
        pass
    assert await findings(own) == []
    assert await handles(own) == {1: "jane"}
