"""`python -m bench.contests`: how long relationships of one connected part take to be decided, and one change.

The documents are made by their fold and written as it writes them, in random order; what moved is decided in batches,
as the follower does it. Each change after that is one relationship more, or one less, decided by itself.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from prometheus_client import CollectorRegistry
from rich.console import Console

from bench.fixture import CLOCK
from bench.processes import usage
from projections.content.relationships import CONTENT_CYCLES, CONTENT_RELATIONSHIPS
from projections.event import StoredEvent
from projections.kinds import Document
from worker.chunks import chunks
from worker.contract.identity import stream_object_id
from worker.contract.upcasters import CURRENT_SCHEMA_VERSION
from worker.devstack.servers.mongod import start_mongod
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close
from worker.storage.schema import apply_schema
from worker.storage.transactions import Transactions
from worker.telemetry.metrics import Metrics
from worker.watch.contests.contenders import DOCUMENT, Contenders
from worker.watch.roles import contenders
from worker.watch.sums.runner import Dependencies

_START = datetime(2026, 1, 1, tzinfo=UTC)
_TYPE = "contains"
_CHANGES = 20  # of which half make a relationship and half take one away; their mean is told
_COLUMNS = (
    "shape",
    "relationships",
    "in batches of",
    "closing a cycle",
    "all, s",
    "CPU, s",
    "one change, ms",
    "CPU, ms",
    "mongod's CPU, ms",
)

Ends = Callable[[int], tuple[int, int]]


def _tree(number: int) -> tuple[int, int]:
    return number // 5, number + 1


def _chain(number: int) -> tuple[int, int]:
    return number, number + 1


def _mesh(random: Random, most: int) -> Ends:
    """A third as many things as relationships: most of these that are made late close a cycle."""

    def ends(_: int) -> tuple[int, int]:
        parent, child = random.sample(range(max(2, most // 3)), 2)
        return parent, child

    return ends


def _relationship(number: int, ends: tuple[int, int], *, gone: bool = False) -> Document:
    """What the fold makes of the relationship that was made as the `number`-th, between a parent and a child."""
    stream = f"relationship_{number:024x}"
    parent, child = (f"{2**40 + end:024x}" for end in ends)
    made = {"parent_id": parent, "child_id": child, "relationship_type": _TYPE}
    told: list[tuple[str, dict[str, str]]] = [("content_related", made)]
    told += [("content_unrelated", {})] if gone else []
    events = [
        StoredEvent.from_document(
            {
                "_id": UUID(int=2 * number + later),
                "stream_id": stream,
                "version": later + 1,
                "event_type": kind,
                "event_data": {"details": details},
                "personal": {},
                "schema_version": CURRENT_SCHEMA_VERSION,
                "occurred_at": _START + timedelta(seconds=number, milliseconds=later),
                "recorded_at": _START,
            }
        )
        for later, (kind, details) in enumerate(told)
    ]
    fields = CONTENT_RELATIONSHIPS.refold(events, None, "live")
    return {"_id": stream_object_id(stream), "rev": 1, **fields}


async def _keep_alive() -> None:
    """No follower is behind this: there is no lease to renew."""


def _contenders(database: Database) -> Contenders:
    """What decides the contest of cycles."""
    metrics = Metrics(CollectorRegistry(), database.catalogue)
    given = Dependencies(database, Transactions(database.client), CLOCK, metrics, _keep_alive, "bench")
    return next(each for each in contenders(given) if each.name == CONTENT_CYCLES.name)


async def _decide(contest: Contenders, changed: Sequence[Document]) -> None:
    """Do what the follower does when these documents have changed."""
    await contest.bring(frozenset((DOCUMENT, each["_id"]) for each in changed), {})


async def _measure(database: Database, server: int, shape: str, most: int, batch: int) -> str:
    """A line of the table: decide so many relationships in batches, then change one after the other."""
    random = Random(1)  # noqa: S311  # the same shapes and changes in every run
    ends: Ends = {"tree": _tree, "chain": _chain, "mesh": _mesh(random, most)}[shape]
    stored, contest = database.collection(CONTENT_RELATIONSHIPS.target.collection), _contenders(database)
    decided = database.collection(CONTENT_CYCLES.contenders.collection)
    await stored.delete_many({})
    await decided.delete_many({})
    between = [ends(number) for number in range(most)]
    made = [_relationship(number, each) for number, each in enumerate(between)]
    random.shuffle(made)
    await stored.insert_many(made)
    began, ours = time.monotonic(), time.process_time()
    for some in chunks(made, batch):
        await _decide(contest, some)
    all_s, ours_s = time.monotonic() - began, time.process_time() - ours
    taken: list[tuple[float, float, float]] = []
    for change in range(_CHANGES):
        if change % 2:
            number = random.randrange(most // 2)
            changed = _relationship(number, between[number], gone=True)
        else:
            far = random.randrange(most // 3), random.randrange(most // 3) + most
            changed = _relationship(most + change, far)
        await stored.replace_one({"_id": changed["_id"]}, changed, upsert=True)
        began, ours, theirs = time.monotonic(), time.process_time(), usage(server).cpu_s
        await _decide(contest, [changed])
        taken.append((time.monotonic() - began, time.process_time() - ours, usage(server).cpu_s - theirs))
    lost = await decided.count_documents({"reason": {"$gt": ""}})
    mean = [1_000 * sum(each[place] for each in taken) / len(taken) for place in range(3)]
    cells = [shape, f"{most:,}", f"{batch:,}", f"{lost:,}", f"{all_s:.1f}", f"{ours_s:.1f}"]
    return f"| {' | '.join([*cells, *(f'{each:.0f}' for each in mean)])} |"


async def _main(arguments: Any) -> None:
    console = Console(soft_wrap=True)
    with tempfile.TemporaryDirectory() as folder:
        mongod = await start_mongod(Path(folder))
        client = make_client(mongod.uri)
        try:
            database = open_database(client, "bench_contests")
            await apply_schema(database)
            console.print(f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}", markup=False)
            for shape in arguments.shapes:
                for batch in arguments.batches:
                    row = await _measure(database, mongod.process.pid, shape, arguments.relationships, batch)
                    console.print(row, markup=False, highlight=False)
        finally:
            await close(client)
            await asyncio.to_thread(mongod.process.stop)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--relationships", type=int, default=3_000)
    parser.add_argument("--shapes", nargs="+", default=["tree", "chain", "mesh"])
    parser.add_argument("--batches", nargs="+", type=int, default=[3_000, 100])
    asyncio.run(_main(parser.parse_args()))
