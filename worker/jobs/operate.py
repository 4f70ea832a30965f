"""What operators do with runs, from any process: look at them, and ask them to pause, to go on, or to end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from worker.jobs.context import cancelled_by
from worker.jobs.errors import Impossible
from worker.storage import job_requests, job_runs
from worker.storage.database import Database
from worker.storage.job_leases import Holder, holders
from worker.storage.job_models import JobRun
from worker.storage.reading import Unreadable

State = Literal["running", "paused", "cancelling", "killed", "stopped", "failed", "succeeded", "cancelled"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A run as it is now: `killed` is one that began, and that nobody is at."""

    run: JobRun
    holder: Holder | None

    @property
    def state(self) -> State:
        """In one word."""
        if self.run.status != "running":
            return self.run.status
        if self.holder is None:
            return "killed"
        if self.run.request is None:
            return "running"
        return "cancelling" if self.run.request.what == "cancel" else "paused"

    @property
    def is_at_work(self) -> bool:
        """A process has it, even if it waits."""
        return self.state in ("running", "paused", "cancelling")


async def newest(
    database: Database, *, job: str | None = None, limit: int
) -> tuple[list[Seen], Sequence[Unreadable]]:
    """The runs that were started last, the newest first; and those among them that make no sense."""
    found = await job_runs.newest(database, job, limit)
    return await _seen(database, found.values), found.unreadable


async def find(database: Database, identity: str) -> Seen:
    """One run; raises Impossible where there is none that makes sense."""
    run = await job_runs.find_run(database, identity)
    if run is None:
        raise Impossible(f"there is no run {identity}: `sevenp-worker jobs list` shows those that there are")
    if isinstance(run, Unreadable):
        raise Impossible(f"the run {identity} cannot be read ({run.reason}): somebody else has written to it")
    return (await _seen(database, [run]))[0]


async def pause(database: Database, identity: str, who: str, at: datetime) -> Seen:
    """Have a run wait after its next step."""
    seen = await find(database, identity)
    if seen.state not in ("running", "paused"):
        raise Impossible(f"{identity} is {seen.state}: only what is running can be paused")
    if not await job_requests.ask(database, identity, "pause", who, at):
        raise Impossible(f"{identity} has ended, or is being cancelled, meanwhile")
    return await find(database, identity)


async def resume(database: Database, identity: str) -> Seen:
    """Have a run that is paused go on."""
    seen = await find(database, identity)
    if not await job_requests.withdraw_pause(database, identity):
        nobody_at_it = seen.state in ("killed", "stopped", "failed")
        hint = ": the command that started it goes on with it" if nobody_at_it else ""
        raise Impossible(f"{identity} is {seen.state}, and not paused{hint}")
    return await find(database, identity)


async def cancel(database: Database, identity: str, who: str, at: datetime) -> Seen:
    """Have a run end after its next step; one that nobody is at is ended here and now."""
    seen = await find(database, identity)
    if seen.run.status not in job_runs.UNFINISHED:
        raise Impossible(f"{identity} is {seen.state} already")
    # A second cancel is no mistake; one that has ended meanwhile is told by its state.
    done = (
        await job_requests.ask(database, identity, "cancel", who, at) or seen.state == "cancelling"
        if seen.is_at_work
        else await job_requests.end_cancelled(database, seen.run, cancelled_by(who))
    )
    if not done:
        raise Impossible(f"{identity} has begun again, or ended, meanwhile: look at it, and cancel it again")
    return await find(database, identity)


async def _seen(database: Database, runs: Sequence[JobRun]) -> list[Seen]:
    held = await holders(database, [run.lock for run in runs if run.status == "running"])
    return [Seen(run, _holder_of(run, held.get(run.lock))) for run in runs]


def _holder_of(run: JobRun, holder: Holder | None) -> Holder | None:
    """Whoever holds the lock for another run is not at this one."""
    return holder if holder is not None and holder.epoch == run.epoch else None
