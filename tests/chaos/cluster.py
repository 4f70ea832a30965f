"""Workers that share the partitions, and the faults that hit them and their servers while events keep coming."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType

from tests.chaos.history import Fault, History, NotProven
from tests.chaos.steps import LEARNERS
from tests.chaos.workload import PARTITIONS
from tests.support.waiting import until
from worker.devstack.servers.apache.cluster import ApacheKafka
from worker.devstack.servers.process import ServerProcess, free_port
from worker.devstack.servers.worker_process import WorkerProbe

MEMBERS = ("a", "b")
_JOINING = "c"
# A quick cluster may have stored a burst before the fault: another one then.
_BURSTS = 20
# Above the worker's own deadline for draining.
_DRAIN_S = 40.0


@dataclass
class WorkerCluster:
    """Workers by name. Each method is one fault: it returns once new events are stored again, in every partition."""

    history: History
    random: Random
    probes: dict[str, WorkerProbe] = field(default_factory=dict)
    fenced: float = 0.0

    def start(self, name: str, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        """A worker of this name; its log is `target-NAME.log`. `settings` go over the common ones."""
        port = free_port()
        process = self.history.target.start(
            settings={**settings, "SEVENP_HTTP_PORT": str(port)}, name=f"target-{name}"
        )
        self.probes[name] = WorkerProbe(f"http://127.0.0.1:{port}", process)

    def kill_all(self) -> None:
        """End whoever still runs, stopped or not."""
        for probe in self.probes.values():
            if probe.process is not None and probe.process.returncode is None:
                probe.process.popen.kill()
                probe.process.popen.wait()

    async def worker_killed(self) -> None:
        name = self.random.choice(MEMBERS)

        async def inject() -> float:
            at = time.time()
            process = self.server(name).popen
            process.kill()
            if await asyncio.to_thread(process.wait) != -signal.SIGKILL:
                raise NotProven(f"worker {name} had ended before it was killed")
            self.start(name)
            return at

        await self._fault("worker killed", name, inject)

    async def mongod_killed(self) -> None:
        async def inject() -> float:
            await self.history.world.restart_mongod()
            return time.time()

        await self._fault("mongod killed, from primary again", "", inject)

    async def broker_killed(self) -> None:
        async def inject() -> float:
            await self.history.world.restart_broker()
            return time.time()

        await self._fault("broker killed, from answering again", "", inject)

    async def zombie(self) -> None:
        """A worker is stopped until the other has all partitions and stores their events; then it goes on."""
        await self.shared(dict.fromkeys(MEMBERS, PARTITIONS // 2))
        zombie, successor = self.random.sample(MEMBERS, 2)

        async def inject() -> float:
            at = time.time()
            self.server(zombie).popen.send_signal(signal.SIGSTOP)
            await self.shared({successor: PARTITIONS})
            return at

        await self._fault("worker stopped, another takes over", zombie, inject)
        self.server(zombie).popen.send_signal(signal.SIGCONT)
        await self.shared(dict.fromkeys(MEMBERS, PARTITIONS // 2))
        self.fenced += await self.fenced_writes(zombie)

    async def joined(self) -> None:
        async def inject() -> float:
            at = time.time()
            self.start(_JOINING)
            await self._until(_JOINING, lambda owned: owned > 0)
            return at

        await self._fault("worker joined", _JOINING, inject)

    async def left(self) -> None:
        async def inject() -> float:
            at = time.time()
            process = self.probes.pop(_JOINING).process
            if process is None:
                raise NotProven("the worker that joined is not ours")
            await asyncio.to_thread(process.stop, _DRAIN_S)
            if process.returncode != 0:
                raise NotProven(f"the worker that joined ended with {process.returncode}")
            await self.shared(dict.fromkeys(MEMBERS, PARTITIONS // 2))
            return at

        await self._fault("worker left", _JOINING, inject)

    async def shared(self, wanted: dict[str, int]) -> None:
        """Wait until these workers own as many partitions, as their own metrics say."""
        for name, count in wanted.items():
            await self._until(name, lambda owned, count=count: owned == count)  # type: ignore[misc]

    @property
    def has_broker_with_files(self) -> bool:
        return isinstance(self.history.world.kafka, ApacheKafka)

    async def _fault(self, kind: str, detail: str, inject: Callable[[], Awaitable[float]]) -> None:
        """Inject it while events are on their way, note it, and wait until all partitions work again."""
        history, workload = self.history, self.history.workload
        pause_s = self.random.uniform(0.0, 0.05)  # anywhere in the batch, by the seed
        for attempt in range(_BURSTS):
            await workload.burst()
            await asyncio.sleep(pause_s / (1 + attempt))
            if workload.waiting:
                break
        in_flight = len(workload.waiting)
        at = await inject()
        await history.note_doubt()

        def recovered() -> bool:
            workload.require_alive()
            return workload.recovered(at) is not None

        await until(recovered, f"events to be stored again after: {kind} {detail}")
        history.record_fault(Fault(kind, detail, at, in_flight, workload.recovered(at)))

    async def _until(self, name: str, holds: Callable[[int], bool]) -> None:
        probe = self.probes[name]

        async def owns() -> bool:
            self.history.workload.require_alive()
            probe.require_alive()
            counts = await probe.counts(LEARNERS)
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
