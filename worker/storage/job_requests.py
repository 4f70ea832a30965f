"""What somebody asks of a run from outside: to pause, to go on, to end. The runner looks at each of its steps.

A request is a field of the run's document. It needs no epoch: whoever has the run heeds it.
"""

from datetime import datetime
from typing import Literal

from worker.storage.database import Database
from worker.storage.errors import translated
from worker.storage.job_models import JobRun
from worker.storage.job_runs import UNFINISHED


async def ask(
    database: Database, identity: str, what: Literal["cancel", "pause"], who: str, at: datetime
) -> bool:
    """Ask it of a run that is at work; False if it is not. What is to be cancelled is not paused. May run twice."""
    working = {"_id": identity, "status": "running", "request.what": {"$ne": "cancel"}}
    with translated():
        asked = {"$set": {"request": {"what": what, "who": who, "at": at}}}
        return (await database.job_runs.update_one(working, asked)).matched_count == 1


async def withdraw_pause(database: Database, identity: str) -> bool:
    """Let a run go on; False if nobody asked it to pause. May run twice."""
    paused = {"_id": identity, "request.what": "pause"}
    with translated():
        return (await database.job_runs.update_one(paused, {"$set": {"request": None}})).matched_count == 1


async def end_cancelled(database: Database, run: JobRun, error: str) -> bool:
    """End a run that nobody is at, as it was read; False if somebody has begun with it, or ended it, since."""
    as_read = {
        "_id": run.id,
        "epoch": run.epoch,
        "attempts": run.attempts,
        "status": {"$in": list(UNFINISHED)},
    }
    ended = {
        "$set": {"status": "cancelled", "error": error, "request": None},
        "$currentDate": {"finished_at": True},
    }
    with translated():
        return (await database.job_runs.update_one(as_read, ended)).matched_count == 1
