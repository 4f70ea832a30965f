"""Throughput with many stored events, and with few or many learners."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bson.raw_bson import RawBSONDocument

from bench.contestants.field import INGEST
from bench.contestants.limit import read_file
from bench.fixture import Fixture, publish_workload
from bench.race import Run, observe, run_once
from bench.records import SEED, Workload
from worker.storage.database import Database

PARTITIONS = 4
_BATCH = 5_000
Raw = RawBSONDocument


@dataclass(frozen=True, slots=True)
class Grown:
    """One run of ingest into a store that already held `stored` events."""

    stored: int
    run: Run


def copies(events: Sequence[Raw], rows: Sequence[Raw], random: Random) -> Iterator[tuple[Raw, Raw]]:
    """The same documents of other learners: ids replaced in the bytes, ten times as fast as making new ones."""
    users = {event["event_data"]["user_id"].binary for event in events}
    others = {user: random.randbytes(len(user)) for user in users}
    for event, row in zip(events, rows, strict=True):
        own, user = bytes(event["_id"]), event["event_data"]["user_id"].binary
        new, other = random.randbytes(len(own)), others[user]
        hexadecimal, further = user.hex().encode(), other.hex().encode()
        yield (
            Raw(bytes(event.raw).replace(own, new).replace(user, other).replace(hexadecimal, further)),
            Raw(bytes(row.raw).replace(own, new).replace(user, other)),
        )


async def fill(database: Database, documents: Path, events: int, random: Random) -> None:
    """Add so many stored events, both documents of each: copies of one workload's `documents`, again and again."""
    originals, rows = read_file(documents / "events.bson"), read_file(documents / "rows.bson")
    while events > 0:
        made = list(copies(originals[:events], rows[:events], random))
        for start in range(0, len(made), _BATCH):
            part = made[start : start + _BATCH]
            await database.course_events.insert_many([event for event, _ in part], ordered=False)
            await database.user_interactions.insert_many([row for _, row in part], ordered=False)
        events -= len(made)


async def measure_growth(
    given: Fixture, documents: Path, sizes: Sequence[int], events: int, say: Callable[[str], None]
) -> list[Grown]:
    """For each size: fill up to it, then ingest new events of other learners into the same collections."""
    random, found = Random(SEED), []  # noqa: S311 - copies, not secrets
    topics = []
    for number in range(len(sizes)):
        topics.append(f"growth-{number}")
        await publish_workload(given, topics[-1], PARTITIONS, Workload(events, seed=SEED + 1 + number))
    async with given.run(topics[0]) as (task, database):
        stored = 0
        for number, size in enumerate(sizes):
            await fill(database, documents, size - stored, random)
            await given.client.admin.command("fsync")
            run = await observe(given, INGEST, task.on(topics[number], number), database, events, before=size)
            stored = size + events
            found.append(Grown(size, run))
            say(f"{size:,} stored events: {run.rate:,.0f} events/s")
    return found


async def measure_learners(
    given: Fixture, learners: Sequence[int], events: int, say: Callable[[str], None]
) -> list[tuple[int, Run]]:
    """The same number of events of few or of many learners, into an empty store."""
    found = []
    for number in learners:
        topic, workload = f"learners-{number}", Workload(events, learners=number)
        await publish_workload(given, topic, PARTITIONS, workload)
        found.append((number, await run_once(given, INGEST, topic, workload)))
        say(f"{number:,} learners: {found[-1][1].rate:,.0f} events/s")
    return found
