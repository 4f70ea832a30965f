"""Throughput with many stored events: of ingest, and of the limit in the same collections."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bson.raw_bson import RawBSONDocument

from bench.comparison import Way
from bench.contestants.field import INGEST, limit
from bench.contestants.limit import read_file
from bench.final_documents import final_documents
from bench.fixture import Fixture, publish_workload
from bench.race import Run, observe
from bench.records import SEED, Workload
from bench.report import Say
from worker.storage.database import Database

_BATCH = 5_000
Raw = RawBSONDocument


@dataclass(frozen=True, slots=True)
class Grown:
    """One run of ingest into a store that already held `stored` events, and one of the limit right after it."""

    stored: int
    run: Run
    limit: Run


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
    given: Fixture, documents: Path, sizes: Sequence[int], events: int, way: Way, say: Say
) -> list[Grown]:
    """For each size: fill up to it, then ingest new events of other learners, then insert others' final documents."""
    random, found = Random(SEED), []  # noqa: S311 - copies, not secrets
    topics = [
        await publish_workload(given, f"growth-{number}", Workload(events, seed=SEED + 1 + number))
        for number in range(2 * len(sizes))
    ]
    async with given.run(topics[0].topic) as (task, database):
        stored = paid_before = 0
        for number, size in enumerate(sizes):
            await fill(database, documents, size - stored, random)
            await given.client.admin.command("fsync")
            ours, others = topics[2 * number], topics[2 * number + 1]
            run = await observe(
                given,
                INGEST,
                task.on(ours.topic, 2 * number),
                database,
                ours.expected,
                before=size,
                paid_before=paid_before,
            )
            paid_before += ours.expected.payments
            final = limit(final_documents(given.folder, others.topic, others.workload), *way)
            await given.client.admin.command("fsync")
            most = await observe(
                given,
                final,
                task.on(others.topic, 2 * number + 1),
                database,
                others.expected,
                before=size + events,
                paid_before=paid_before,
            )
            stored = size + 2 * events
            found.append(Grown(size, run, most))
            say(f"{size:,} stored events: {run.rate:,.0f} events/s, the limit {most.rate:,.0f}")
    return found
