"""The audit: a row for every command that changes something, with who gave it, with what, and what came of it.

The row is there before the command changes anything, and gets its outcome at the end: one that stays `begun` was
killed there, or is still at work.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from bson import ObjectId

from worker.errors import Retryable, WorkerError
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.retrying import retrying_for
from worker.timing import SystemClock, complete
from worker.words import in_words

# Longer messages say the same with more of the server's words.
_LONGEST_ERROR = 500
# A new primary is elected within these.
_PATIENCE_S = 10.0
_LIMIT_S = 2 * _PATIENCE_S


class NotRecorded(Retryable):
    """What was asked is done, and the row of the audit could not be told: it stays `begun`."""


@dataclass(slots=True)
class Audited:
    """The row of a command that is at work; what stands in `outcome` at its end is kept."""

    id: ObjectId
    outcome: dict[str, Any] = field(default_factory=dict)


async def record(
    database: Database,
    *,
    command: str,
    who: str,
    arguments: Mapping[str, Any],
    outcome: Mapping[str, Any],
    run: str | None = None,
    row: ObjectId | None = None,
) -> bool:
    """One row for a command that is done; False where one with the id `row` is there already."""
    now = datetime.now(UTC)
    made = _row(command, who, arguments, run, now) | {"_id": row or ObjectId()}
    done = {**made, "status": "done", "outcome": dict(outcome), "finished_at": now}
    with translated():
        found = await database.audit.update_one({"_id": made["_id"]}, {"$setOnInsert": done}, upsert=True)
    return found.upserted_id is not None


@asynccontextmanager
async def recorded(
    database: Database, *, command: str, who: str, arguments: Mapping[str, Any], run: str | None = None
) -> AsyncIterator[Audited]:
    """A row for the command that the block is, from its beginning; the block adds to its outcome.

    An error that leaves the block is kept in the row, and goes on. Raises NotRecorded where the block has done its
    work, and the server stayed away behind it.
    """
    row = _row(command, who, arguments, run, datetime.now(UTC))
    await retrying_for(_PATIENCE_S, partial(_begin, database, row), clock=SystemClock())
    audited = Audited(row["_id"])
    try:
        yield audited
    except BaseException as error:
        with suppress(WorkerError, TimeoutError):
            await complete(_ended(database, audited, "failed", told(error)), _LIMIT_S)
        raise
    try:
        await complete(_ended(database, audited, "done", None), _LIMIT_S)
    except (Retryable, TimeoutError) as error:
        raise NotRecorded(
            "what was asked is done, but the audit does not say so: "
            f"its row {audited.id} stays `begun` ({told(error)})"
        ) from error


def told(error: BaseException) -> str:
    """An error as rows keep it: our own in its words, any other by its kind, for it may quote what is personal."""
    if isinstance(error, asyncio.CancelledError):
        return "interrupted"
    return (str(error) if isinstance(error, WorkerError) else in_words(error))[:_LONGEST_ERROR] or "unknown"


async def _begin(database: Database, row: Document) -> None:
    with translated():
        await database.audit.update_one({"_id": row["_id"]}, {"$setOnInsert": row}, upsert=True)


async def _ended(database: Database, audited: Audited, status: str, error: str | None) -> None:
    ending = partial(_end, database, audited, status, error)
    await retrying_for(_PATIENCE_S, ending, clock=SystemClock())


async def _end(database: Database, audited: Audited, status: str, error: str | None) -> None:
    fields: Document = {"status": status, "outcome": audited.outcome or None, "error": error}
    with translated():
        await database.audit.update_one(
            {"_id": audited.id}, {"$set": fields, "$currentDate": {"finished_at": True}}
        )


def _row(command: str, who: str, arguments: Mapping[str, Any], run: str | None, now: datetime) -> Document:
    return {
        "_id": ObjectId(),
        "command": command,
        "who": who,
        "arguments": dict(arguments),
        "run": run,
        "status": "begun",
        "outcome": None,
        "error": None,
        "at": now,
        "finished_at": None,
    }
