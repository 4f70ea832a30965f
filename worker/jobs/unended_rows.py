"""Rows of the audit that their own process could not end: what came of them is told by the run's document.

A process may be killed, or find no server when it is done. Whoever runs a job next puts such rows right.
"""

from typing import Any

from worker.storage import job_runs, reading
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.job_models import JobRun

# There are as many as processes at work, and those that were killed since a job was run last.
_MOST = 1_000
_NO_WORD = "its process ended without a word"


async def end_rows_by_their_runs(database: Database, ours: str) -> None:
    """End the rows of runs that nobody is at. `ours` is the run that begins: a former attempt at it is over.

    May run twice, and beside a process that ends its own row: both write the same.
    """
    begun: Document = {"status": "begun", "run": {"$type": "string"}}
    found = await reading.find(database.audit, begun, {"command": 1, "run": 1}, limit=_MOST)
    for row in found.documents:
        run = await job_runs.find_run(database, row["run"])
        ending = _ending(row, run if isinstance(run, JobRun) else None, ours)
        if ending is not None:
            with translated():
                await database.audit.update_one({"_id": row["_id"], "status": "begun"}, {"$set": ending})


def _ending(row: Document, run: JobRun | None, ours: str) -> dict[str, Any] | None:
    """How a row ends; None for one of a run at work, and of a command that only speaks of a run."""
    if run is None or row.get("command") != run.job:
        return None
    ended = {"finished_at": run.finished_at or run.saved_at, "error": run.error}
    if run.status == "succeeded":
        return {**ended, "status": "done", "outcome": {**run.counts, **(run.outcome or {})} or None}
    if run.id == ours or (run.status != "running" and run.error is None):
        return {**ended, "status": "unknown", "error": _NO_WORD}
    return {**ended, "status": "failed"} if run.status != "running" else None
