"""Somebody has made a unique index on a collection of the worker: it may refuse what the worker writes."""

from collections.abc import Mapping, Sequence

from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.storage.database import Document
from worker.storage.differences import Wanted


def decide(wanted: Wanted, indexes: Sequence[Document]) -> Sequence[Seen]:
    """Unique indexes that are not among those the code declares."""
    known = {"_id_", *(index.name for index in wanted.indexes)}
    return [
        Seen(
            wanted.collection,
            f"the index {index['name']} on {_keys(index['key'])} is unique, and not the worker's",
            f'Drop it, unless its owner needs it: db.{wanted.collection}.dropIndex("{index["name"]}").',
        )
        for index in indexes
        if index.get("unique") and index["name"] not in known
    ]


def _keys(key: Mapping[str, object]) -> str:
    return ", ".join(key)


async def look(setup: Setup) -> Sequence[Seen]:
    found = await setup.mongodb.collections()
    present = [wanted for wanted in setup.mongodb.wanted if wanted.collection in found]
    return [seen for wanted in present for seen in decide(wanted, found[wanted.collection].indexes)]


FOREIGN_UNIQUE_INDEX = Finding(
    name="foreign_unique_index",
    severity=Severity.WARNING,
    needs=MONGODB,
    means="A unique index that the code does not declare may refuse documents that the worker writes.",
    fix="Drop the index, unless its owner needs it.",
    look=look,
)
