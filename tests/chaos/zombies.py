"""A worker falls asleep right before a write; another finishes everything; only then does the write go out."""

import signal
import time
from collections.abc import Mapping, Sequence
from random import Random

from tests.chaos.crew import REGULARS, Crew
from tests.chaos.ending import finish
from tests.chaos.feed import PARTITIONS
from tests.chaos.history import Fault, History, NotProven
from tests.chaos.launcher import ACT_VARIABLE, POINT_VARIABLE
from tests.chaos.rest import open_now
from tests.chaos.victim import until

# What a sleeper may have in hand, and the writes of it that MongoDB must have refused by the time it works again.
# Kept harmless by: the burn, the revision, the session that the heir has ended, the group's generation, the lease.
SLEEPS: Mapping[str, int] = {
    "before:insert:user_interactions:3": 1,
    "before:update:user_progress:2": 0,
    "before:commitTransaction:1:2": 0,
    "before:commit:offsets:3": 0,
    "before:update:notifications~sent_at:2": 0,
}


async def sleep_at(history: History, point: str) -> Sequence[str]:
    """One sleeper at this point; what is wrong once it has woken up and everything has come to rest again.

    Raises NotProven when it is not reached, or when the sleeper's writes were not refused as often as they must.
    """
    crew = Crew(history, Random(history.seed))  # noqa: S311 - nothing is left to chance here
    sleeper, heir = REGULARS
    try:
        crew.start(sleeper, {POINT_VARIABLE: point, ACT_VARIABLE: "stop"})
        await _asleep(crew, sleeper, point)
        at, in_flight = time.time(), (await open_now(history.world, history.feed)).total
        await history.note_doubt()
        crew.start(heir)
        await crew.shared({heir: PARTITIONS})
        await until(lambda: history.feed.recovered(at) is not None, "the heir to store new events")
        history.struck(
            Fault("worker asleep before a write", point, at, in_flight, history.feed.recovered(at))
        )
        await history.come_to_rest({heir: crew.server(heir)})
        crew.server(sleeper).popen.send_signal(signal.SIGCONT)
        await crew.shared(dict.fromkeys(REGULARS, PARTITIONS // 2))
        if (fenced := await crew.fenced_writes(sleeper)) < SLEEPS[point]:
            raise NotProven(f"{point}: {fenced:.0f} writes of the sleeper were refused")
        return await finish(history, crew.probes)
    finally:
        crew.kill_all()


async def _asleep(crew: Crew, name: str, point: str) -> None:
    """Wait until the worker has reached its point: what it writes down comes right before it falls asleep."""

    def reached() -> bool:
        crew.history.feed.require_alive()
        crew.probes[name].require_alive()
        return [death.point for death in crew.history.victim.deaths()] == [point]

    await until(reached, f"the point {point}")
