"""What mongod alone takes: the same final documents, made beforehand, inserted into the same collections.

Standard input is not read; the file's documents are in memory before the clock starts.
"""

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from bench.contestants.task import Task, given, say_fetching

Raw = RawBSONDocument


def read_file(path: Path) -> list[Raw]:
    """Documents written one after the other."""
    blob = memoryview(path.read_bytes())
    documents, at = [], 0
    while at < len(blob):
        size = int.from_bytes(blob[at : at + 4], "little")
        documents.append(Raw(bytes(blob[at : at + size])))
        at += size
    return documents


def dealt(documents: Sequence[Raw], batch: int, connections: int) -> list[list[Sequence[Raw]]]:
    """Batches in their order, dealt out to connections in turns."""
    batches = [documents[start : start + batch] for start in range(0, len(documents), batch)]
    return [batches[number::connections] for number in range(connections)]


async def insert(collection: AsyncCollection[Raw], batches: Sequence[Sequence[Raw]]) -> None:
    """One connection's part, one command at a time."""
    for batch in batches:
        await collection.insert_many(batch, ordered=False)


def plan(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, list[Sequence[Raw]]]]:
    """For each connection its collection and batches."""
    rows = read_file(folder / "rows.bson")
    if options.order == "metadata":
        rows.sort(key=lambda row: row["metadata"].raw)
    for batches in dealt(read_file(folder / "events.bson"), options.batch, options.connections):
        yield "course_events", batches
    for batches in dealt(rows, options.batch, options.connections):
        yield "user_interactions", batches


async def run(task: Task, options: argparse.Namespace) -> None:
    """Both collections at the same time, each over its connections."""
    client: AsyncMongoClient[Raw] = AsyncMongoClient(task.mongodb_uri, w="majority", journal=True)
    homes = {"course_events": client[task.content], "user_interactions": client[task.analytics]}
    parts = list(plan(options, options.folder))
    await client.admin.command("ping")
    say_fetching()
    await asyncio.gather(*(insert(homes[name].get_collection(name), batches) for name, batches in parts))
    await client.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True, help="for each collection")
    parser.add_argument("--order", choices=("arrival", "metadata"), required=True)
    asyncio.run(run(given(), parser.parse_args()))
