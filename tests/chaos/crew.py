"""Several workers that share the partitions, and what can befall them and their servers while events keep coming."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType

from tests.chaos.feed import PARTITIONS
from tests.chaos.history import Fault, History, NotProven
from tests.chaos.victim import until
from tests.chaos.world import TOPIC
from worker.devstack.servers.apache.cluster import ApacheKafka
from worker.devstack.servers.process import ServerProcess, free_port
from worker.devstack.servers.worker_process import WorkerProbe

REGULARS = ("a", "b")
_GUEST = "c"
# A quick crew may have stored a burst before the strike: another one then.
_BURSTS = 20
# Above the worker's own deadline for draining.
_DRAIN_S = 40.0


@dataclass
class Crew:
    """Workers by name. Each method is one fault: it returns once new events are stored again, in every partition."""

    history: History
    random: Random
    probes: dict[str, WorkerProbe] = field(default_factory=dict)
    fenced: float = 0.0

    def start(self, name: str, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        """A worker of this name; its log is `victim-NAME.log`. `settings` go over the common ones."""
        port = free_port()
        process = self.history.victim.start(
            settings={**settings, "SEVENP_HTTP_PORT": str(port)}, name=f"victim-{name}"
        )
        self.probes[name] = WorkerProbe(f"http://127.0.0.1:{port}", process)

    def kill_all(self) -> None:
        """End whoever still runs, stopped or not."""
        for probe in self.probes.values():
            if probe.process is not None and probe.process.returncode is None:
                probe.process.popen.kill()
                probe.process.popen.wait()

    async def worker_killed(self) -> None:
        name = self.random.choice(REGULARS)

        async def strike() -> float:
            at = time.time()
            process = self.server(name).popen
            process.kill()
            if await asyncio.to_thread(process.wait) != -signal.SIGKILL:
                raise NotProven(f"worker {name} had ended before it was killed")
            self.start(name)
            return at

        await self._fault("worker killed", name, strike)

    async def mongod_killed(self) -> None:
        async def strike() -> float:
            await self.history.world.restart_mongod()
            return time.time()

        await self._fault("mongod killed, from primary again", "", strike)

    async def broker_killed(self) -> None:
        async def strike() -> float:
            await self.history.world.restart_broker()
            return time.time()

        await self._fault("broker killed, from answering again", "", strike)

    async def zombie(self) -> None:
        """A worker sleeps until the other has all partitions and stores their events; then it wakes up."""
        await self.shared(dict.fromkeys(REGULARS, PARTITIONS // 2))
        sleeper, heir = self.random.sample(REGULARS, 2)

        async def strike() -> float:
            at = time.time()
            self.server(sleeper).popen.send_signal(signal.SIGSTOP)
            await self.shared({heir: PARTITIONS})
            return at

        await self._fault("worker stopped, another takes over", sleeper, strike)
        self.server(sleeper).popen.send_signal(signal.SIGCONT)
        await self.shared(dict.fromkeys(REGULARS, PARTITIONS // 2))
        self.fenced += await self.fenced_writes(sleeper)

    async def joined(self) -> None:
        async def strike() -> float:
            at = time.time()
            self.start(_GUEST)
            await self._until(_GUEST, lambda owned: owned > 0)
            return at

        await self._fault("worker joined", _GUEST, strike)

    async def left(self) -> None:
        async def strike() -> float:
            at = time.time()
            process = self.probes.pop(_GUEST).process
            if process is None:
                raise NotProven("the guest is not ours")
            await asyncio.to_thread(process.stop, _DRAIN_S)
            if process.returncode != 0:
                raise NotProven(f"the guest ended with {process.returncode}")
            await self.shared(dict.fromkeys(REGULARS, PARTITIONS // 2))
            return at

        await self._fault("worker left", _GUEST, strike)

    async def shared(self, wanted: dict[str, int]) -> None:
        """Wait until these workers own as many partitions, as their own metrics say."""
        for name, count in wanted.items():
            await self._until(name, lambda owned, count=count: owned == count)  # type: ignore[misc]

    @property
    def has_broker_with_files(self) -> bool:
        return isinstance(self.history.world.kafka, ApacheKafka)

    async def _fault(self, kind: str, detail: str, strike: Callable[[], Awaitable[float]]) -> None:
        """Strike while events are on their way, note it, and wait until all partitions work again."""
        history, feed = self.history, self.history.feed
        pause_s = self.random.uniform(0.0, 0.05)  # anywhere in the batch, by the seed
        for attempt in range(_BURSTS):
            await feed.burst()
            await asyncio.sleep(pause_s / (1 + attempt))
            if feed.waiting:
                break
        in_flight = len(feed.waiting)
        at = await strike()
        await history.note_doubt()

        def recovered() -> bool:
            feed.require_alive()
            return feed.recovered(at) is not None

        await until(recovered, f"events to be stored again after: {kind} {detail}")
        history.struck(Fault(kind, detail, at, in_flight, feed.recovered(at)))

    async def _until(self, name: str, holds: Callable[[int], bool]) -> None:
        probe = self.probes[name]

        async def owns() -> bool:
            self.history.feed.require_alive()
            probe.require_alive()
            counts = await probe.counts(TOPIC)
            return counts is not None and holds(len(counts.lags))

        await until(owns, f"the partitions of worker {name}")

    async def fenced_writes(self, name: str) -> float:
        """Writes of this worker that MongoDB refused because a newer owner exists."""
        text = await self.probes[name].metrics()
        lines = [line for line in text.splitlines() if line.startswith("sevenp_worker_fenced_writes_total{")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def server(self, name: str) -> ServerProcess:
        """The process of this worker, which is ours."""
        process = self.probes[name].process
        if process is None:
            raise NotProven(f"worker {name} is not ours")
        return process
