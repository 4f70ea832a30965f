"""The runs of jobs as documents: begun, saved step by step under the epoch of a lease, and ended.

Runs of the same job, interval and arguments share a key and are numbered; `_id` is both. Every write but a request
names the epoch it is made under, and may be sent twice: it says how things are, never by how much they changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from types import MappingProxyType
from typing import Any, Literal
from uuid import UUID

import structlog
from pydantic import ValidationError
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.job_models import HIGHEST_EPOCH, JobRequest, JobRun
from worker.storage.reading import Taken, Unreadable

log = structlog.get_logger(__name__)

Ended = Literal["succeeded", "stopped", "failed", "cancelled"]
"""The states of a run that nobody is at."""

UNFINISHED = ("running", "stopped", "failed")
"""The states of a run that goes on from its checkpoint when it is started again."""

# Of a key's runs the newest is asked for; behind those that somebody else wrote it is found all the same.
_LOOKED_AT = 50


@dataclass(frozen=True, slots=True)
class Attempt:
    """Who begins to work on a run, when, and under which epoch."""

    who: str
    host: str
    process: int
    epoch: int
    at: datetime

    @property
    def document(self) -> Document:
        return {
            "who": self.who,
            "host": self.host,
            "process": self.process,
            "epoch": self.epoch,
            "attempted_at": self.at,
            "saved_at": self.at,
            "status": "running",
            "finished_at": None,
            "error": None,
        }


@dataclass(frozen=True, slots=True)
class Saved:
    """What stands in a run that was just saved: what somebody asks of it."""

    request: JobRequest | None


def run_id(key: str, number: int) -> str:
    """`_id` of a run."""
    return f"{key}-{number}"


async def latest(database: Database, key: str) -> JobRun | None:
    """The newest run of a key; None where there is none. Those that make no sense are passed over, and logged."""
    found = await reading.find(database.job_runs, {"key": key}, sort=[("number", -1)], limit=_LOOKED_AT)
    taken = found.through(parsed)
    for each in taken.unreadable:
        log.warning("job_run_unreadable", run=each.name, reason=each.reason)
    return next(iter(taken.values), None)


async def newest(database: Database, job: str | None, limit: int) -> Taken[JobRun]:
    """The runs that were started last, the newest first, and those among them that make no sense."""
    wanted: Document = {} if job is None else {"job": job}
    found = await reading.find(database.job_runs, wanted, sort=[("started_at", -1)], limit=limit)
    return found.through(parsed)


async def last_success(database: Database, job: str) -> datetime | None:
    """When a run of this job ended well last, with whatever arguments; None where none ever did."""
    ended = {"job": job, "status": "succeeded", "dry_run": False}
    order = [("started_at", -1)]
    found = await reading.find(database.job_runs, ended, {"finished_at": 1}, sort=order, limit=1)
    at = next((each.get("finished_at") for each in found.documents), None)
    return at if isinstance(at, datetime) else None


async def last_ended(database: Database, job: str) -> JobRun | None:
    """The newest run of a job that came to its end and was no dry run; None where there is none that makes sense."""
    query = {"job": job, "status": "succeeded", "dry_run": False}
    found = await reading.find(database.job_runs, query, sort=[("started_at", -1)], limit=1)
    return next(iter(found.through(parsed).values), None)


async def newest_asked(
    database: Database,
    job: str,
    arguments: Mapping[str, Any],
    also: Mapping[str, Any] = MappingProxyType({}),
    *,
    newest_by: str = "started_at",
) -> JobRun | None:
    """The newest run of a job that was asked for these arguments among others, and was no dry run.

    `also` is what else it fulfils.
    """
    asked = {f"arguments.{name}": value for name, value in arguments.items()}
    query = {"job": job, **asked, "dry_run": False, **also}
    found = await reading.find(database.job_runs, query, sort=[(newest_by, -1)], limit=1)
    return next(iter(found.through(parsed).values), None)


async def find_run(database: Database, identity: str) -> JobRun | Unreadable | None:
    """One run by its `_id`."""
    found = await reading.find_one(database.job_runs, {"_id": identity})
    if found is None or isinstance(found, Unreadable):
        return found
    try:
        return parsed(found)
    except ValidationError as error:
        return reading.senseless(database.job_runs.name, identity, error)


def parsed(document: Document) -> JobRun:
    """A stored run; pydantic's ValidationError for a document that is none."""
    return JobRun.model_validate(document)


async def highest_epoch(database: Database, lock: str) -> int:
    """The highest epoch under which a run of this lock was attempted; 0 without any.

    The lease's own is as high, unless somebody removed it.
    """
    ours = {"lock": lock, "epoch": {"$gt": 0, "$lt": HIGHEST_EPOCH}}
    found = await reading.find(database.job_runs, ours, {"epoch": 1}, sort=[("epoch", -1)], limit=1)
    return next((int(row["epoch"]) for row in found.documents), 0)


async def shut_out(database: Database, lock: str, epoch: int) -> None:
    """Have former owners of this lock save nothing more, whichever run they are at. May run twice."""
    await _stop(database, lock, {"$lt": epoch}, epoch=epoch)


async def leave(database: Database, lock: str, epoch: int, error: str) -> None:
    """Have no run stand as `running` under this epoch: its owner ends. May run twice."""
    await _stop(database, lock, epoch, error=error)


async def _stop(database: Database, lock: str, under: int | Document, **fields: int | str) -> None:
    """Whatever stands as `running` under this epoch, or these, is stopped."""
    running = {"lock": lock, "status": "running", "epoch": under}
    stopped = {"$set": {**fields, "status": "stopped"}, "$currentDate": {"finished_at": True}}
    with translated():
        await database.job_runs.update_many(running, stopped)


async def begin(database: Database, attempt: Attempt, asked: Mapping[str, Any], number: int) -> JobRun:
    """Begin a new run of what was `asked`, under this number, or a higher one where it is taken."""
    document: Document = {
        **asked,
        **attempt.document,
        "attempts": 1,
        "saves": 0,
        "started_at": attempt.at,
        "checkpoint": None,
        "progress": {"done": 0, "total": None},
        "counts": {},
        "outcome": None,
        "request": None,
    }
    for free in count(number):
        identity = run_id(asked["key"], free)
        try:
            with translated():
                await database.job_runs.insert_one({"_id": identity, "number": free, **document})
        except DuplicateKeyError:
            stored = await find_run(database, identity)
            if not isinstance(stored, JobRun) or stored.epoch != attempt.epoch:
                continue  # else it is our own, whose answer was lost
        return parsed({"_id": identity, "number": free, **document})
    raise AssertionError("there is always a higher number")


async def go_on(database: Database, attempt: Attempt, run: JobRun) -> JobRun | None:
    """Begin another attempt at a run; None where a newer owner has it, or it is finished."""
    open_still = {"_id": run.id, "epoch": {"$lte": attempt.epoch}, "status": {"$in": list(UNFINISHED)}}
    changes = {"$set": {**attempt.document, "attempts": run.attempts + 1}}
    with translated():
        found = await database.job_runs.find_one_and_update(
            open_still, changes, return_document=ReturnDocument.AFTER
        )
    return None if found is None else parsed(found)


async def save(database: Database, identity: str, epoch: int, number: int, fields: Document) -> Saved | None:
    """Set `fields` as save number `number` of a run; None once somebody newer has it.

    The same save may be sent twice; one that arrives after a later one changes nothing.
    """
    ours = {"_id": identity, "epoch": epoch, "status": "running", "saves": {"$lte": number}}
    with translated():
        found = await database.job_runs.find_one_and_update(
            ours,
            {"$set": {**fields, "saves": number}, "$currentDate": {"saved_at": True}},
            projection={"request": 1},
            return_document=ReturnDocument.AFTER,
        )
    return None if found is None else Saved(_request(found))


async def sessions(database: Database, lock: str) -> list[UUID]:
    """Whose transactions an attempt may have left open, of whatever run of this lock."""
    noted = {"lock": lock, "session": {"$exists": True}}
    found = await reading.find(database.job_runs, noted, {"session": 1})
    return [each["session"] for each in found.documents if isinstance(each["session"], UUID)]


async def note_session(database: Database, lock: str, identity: str, epoch: int, session: UUID) -> bool:
    """Note whose transactions are those of the run now, and of no other of its lock any more. May run twice.

    False once somebody newer has it, or it is ended.
    """
    ours = {"_id": identity, "epoch": epoch, "status": "running"}
    others = {"lock": lock, "_id": {"$ne": identity}, "session": {"$exists": True}, "epoch": {"$lte": epoch}}
    with translated():
        noted = await database.job_runs.update_one(ours, {"$set": {"session": session}})
        if noted.matched_count == 1:
            await database.job_runs.update_many(others, {"$unset": {"session": ""}})
    return noted.matched_count == 1


async def forget_session(database: Database, identity: str, epoch: int, session: UUID) -> None:
    """Its transactions have come to their end: from now on the session may be anybody's. May run twice."""
    ours = {"_id": identity, "epoch": epoch, "session": session}
    with translated():
        await database.job_runs.update_one(ours, {"$unset": {"session": ""}})


async def look(database: Database, identity: str, epoch: int) -> Saved | None:
    """What somebody asks of a run; None once somebody newer has it, or it is ended."""
    ours = {"_id": identity, "epoch": epoch, "status": "running"}
    found = await reading.find_one(database.job_runs, ours, {"request": 1})
    if found is None:
        return None
    return Saved(None if isinstance(found, Unreadable) else _request(found))


async def end(database: Database, identity: str, epoch: int, fields: Document) -> JobRun | None:
    """Give a run its last state; None once somebody newer has it, or ended it. May run twice."""
    ours = {"_id": identity, "epoch": epoch}
    ended = {
        "$set": fields,
        "$unset": {"session": ""},
        "$currentDate": {"saved_at": True, "finished_at": True},
    }
    with translated():
        await database.job_runs.update_one({**ours, "status": "running"}, ended)
    found = await reading.find_one(database.job_runs, {**ours, "status": fields["status"]})
    return None if found is None or isinstance(found, Unreadable) else parsed(found)


def _request(document: Mapping[str, Any]) -> JobRequest | None:
    """What somebody asks of a run; one that makes no sense is none."""
    try:
        return JobRequest.model_validate(document.get("request"))
    except ValidationError:
        return None
