"""The lease a run works under: claimed, kept by renewing it in time, and given back. Losing it ends the run."""

from worker.jobs.errors import TAKEN_OVER, Held, LeaseLost
from worker.settings import JobsSettings
from worker.storage.job_leases import Holder, Lease
from worker.storage.job_runs import highest_epoch
from worker.timing import Clock, Deadline

# How often a lease is looked at that may be a dead process's: it is renewed, or runs out.
_LOOK_S = 0.25


class RunLease:
    """A lease that is held, and its epoch. Renewed at least every `renew_every_s` by whoever calls `keep`."""

    def __init__(self, lease: Lease, epoch: int, clock: Clock, renew_every_s: float) -> None:
        self.epoch = epoch
        self._lease, self._clock, self._renew_every_s = lease, clock, renew_every_s
        self._renewed_at = clock.monotonic()

    async def keep(self) -> None:
        """Renew it if that is due; raises LeaseLost once somebody else has it.

        Time counts while the machine, or this process, sleeps: whoever wakes up asks the server first.
        """
        if self._clock.monotonic() - self._renewed_at < self._renew_every_s:
            return
        asked_at = self._clock.monotonic()
        if not await self._lease.renew(self.epoch):
            raise LeaseLost(TAKEN_OVER)
        self._renewed_at = asked_at

    async def release(self) -> None:
        """Let the next one begin at once."""
        await self._lease.release(self.epoch)


async def claim(lease: Lease, settings: JobsSettings, clock: Clock, *, who: str, run: str) -> RunLease:
    """The lease; raises Held once it is certain that another process lives that has it.

    One that nobody renews is a dead process's: it is waited for until it runs out, which takes `lease_s` at most.
    """
    deadline = Deadline.after(clock, 2 * settings.lease_s)
    first: Holder | None = None
    while True:
        epoch = await lease.claim(who, run, await highest_epoch(lease.database, lease.lock))
        if epoch is not None:
            return RunLease(lease, epoch, clock, settings.renew_every_s)
        holder = await lease.holder()
        first = first or holder
        if holder is not None and (deadline.passed or _lives(holder, first)):
            raise Held(_told(lease.lock, holder))
        if deadline.passed:
            raise Held(
                f"the lease of {lease.lock} can be neither claimed nor read: delete {lease.name} in `leases`"
            )
        await clock.sleep(_LOOK_S)


def _lives(holder: Holder, first: Holder | None) -> bool:
    """It has renewed its lease since the first look, or is another one."""
    return first is not None and (holder.owner, holder.expires_at) != (first.owner, first.expires_at)


def _told(lock: str, holder: Holder) -> str:
    since = f"{holder.since:%Y-%m-%d %H:%M:%S} UTC"
    return (
        f"{lock} is being run by {holder.who} since {since} (run {holder.run}): wait for its end, "
        f"or end it with `sevenp-worker jobs cancel {holder.run}`"
    )
