"""The stored shapes of jobs: their runs, their leases, and the audit of whatever changes something."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from bson import ObjectId
from pydantic import Field

from worker.storage.model_bases import Closed, Count, Named, Positive, Text, absent

# A claim adds to it, in 64 bits. Whatever lies beyond was never one.
HIGHEST_EPOCH = 2**53


class JobLease(Named):
    """`leases`: who runs a job, since when; `epoch` is raised whenever it is claimed."""

    kind: Literal["job"]
    owner: str | None
    epoch: Count
    expires_at: datetime
    who: str | None
    run: str | None
    since: datetime


class JobProgress(Closed):
    """How many steps of a run are done, of how many; null while nobody has counted them."""

    done: Count
    total: Count | None


class JobRequest(Closed):
    """What somebody asked of a run: it looks at each of its steps, and while it waits."""

    what: Literal["cancel", "pause"]
    who: Text
    at: datetime


class JobRun(Named):
    """`job_runs`: one run of a job: what it was asked to do, where it has come to, and how it ended.

    Runs of the same job, interval and arguments share a `key` and are numbered. `epoch` is that of the lease the
    last attempt works under: nobody saves under another. `saves` counts, so that a save that arrives late changes
    nothing. `running` says that an attempt began; whether it lives is told by the lease. `session` is that of the
    last attempt's transactions, until these are over: one of a killed attempt may be open.
    """

    job: Text
    key: Text
    number: Positive
    lock: Text
    interval: str | None
    arguments: dict[str, Any]
    selection: dict[str, Any]
    dry_run: bool
    status: Literal["running", "stopped", "succeeded", "failed", "cancelled"]
    who: Text
    host: Text
    process: Positive
    epoch: Annotated[int, Field(ge=1, le=HIGHEST_EPOCH)]
    attempts: Positive
    saves: Count
    started_at: datetime
    attempted_at: datetime
    saved_at: datetime
    finished_at: datetime | None
    checkpoint: dict[str, Any] | None
    progress: JobProgress
    counts: dict[str, int]
    outcome: dict[str, Any] | None
    error: str | None
    request: JobRequest | None
    session: UUID = Field(default_factory=absent)


class BeforeImage(Named):
    """`before_images`: a document as it was before a promotion replaced it; `_id` is the run, ":" and its `_id`.

    `before` is what stood in the paths that were `changed`, null where there was no document; `promoted_rev` is the
    revision of what took its place. `left` says of a document that did not go back why it stays.
    """

    run: Text
    collection: Text
    document: ObjectId
    stream_id: Text
    changed: list[str]
    before: dict[str, Any] | None
    promoted_rev: Positive
    promoted_at: datetime
    left: Literal["moved", "refused"] | None


class AuditEntry(Closed):
    """`audit`: one command that changes something: who gave it, with what, and what came of it.

    One that is `begun` was killed, or is still at work. The next run of a job ends those of runs, as `unknown` where
    nobody could say how they ended. `run` names the job's run, which says more.
    """

    id: ObjectId = Field(alias="_id")
    command: Text
    who: Text
    arguments: dict[str, Any]
    run: str | None
    status: Literal["begun", "done", "failed", "unknown"]
    outcome: dict[str, Any] | None
    error: str | None
    at: datetime
    finished_at: datetime | None


class SchedulePosition(Named):
    """`schedule_positions`: how far one entry of the schedule has come, with this expression and time zone.

    Everything up to `handled_until` was run or dropped; what came due from `busy_from` to `busy_until` had to wait.
    """

    handled_until: datetime
    busy_from: datetime | None
    busy_until: datetime | None
