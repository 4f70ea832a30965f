"""Scale-out: several ingest workers in one group on the same topic, counted once all of them have their share."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.contestants.field import INGEST
from bench.fixture import CLOCK, Fixture, publish_workload
from bench.race import BEGIN_POLL_S as POLL_S
from bench.race import GRACE_S, RUN_LIMIT_S
from bench.records import Workload
from bench.stored import reached
from worker.devstack.servers.worker_process import WorkerProbe, start_worker
from worker.errors import Fatal, WorkerError
from worker.storage.database import Database

_LEAST_LEFT = 0.3  # of the events, when all workers have joined: fewer would say little


@dataclass(frozen=True, slots=True)
class Scale:
    """Events a second once all had joined.

    `joining_s` is the time from the first stored event until all had partitions: their start, and the rebalances.
    """

    partitions: int
    workers: int
    rate: float
    joining_s: float


async def measure_scale(
    given: Fixture, topic: str, partitions: int, workers: int, workload: Workload
) -> Scale:
    """1. start all  2. until the first event is stored  3. until all have a share  4. until all is stored."""
    async with given.run(topic) as (task, database):
        # 1.
        probes = []
        for number in range(workers):
            folder = given.folder / f"{task.group}-{number}"
            folder.mkdir()
            settings = {
                "SEVENP_ROLES": "ingest",
                "SEVENP_MONGODB_URI": task.mongodb_uri,
                "SEVENP_KAFKA_BOOTSTRAP_SERVERS": task.bootstrap_servers,
                "SEVENP_KAFKA_GROUP_ID": task.group,
                "SEVENP_TOPIC": topic,
                "SEVENP_DATABASE_PREFIX": database.prefix,
            }
            probes.append(start_worker(folder, settings))
        try:
            # 2.
            begun, _ = await _until(database, 1, probes)
            # 3.
            while not await _shared(probes, topic, partitions):
                if await stored_of(database) >= workload.events * (1 - _LEAST_LEFT):
                    raise Fatal(
                        f"{workload.events:,} events are too few: most were stored before all had joined"
                    )
                await CLOCK.sleep(POLL_S)
            joined, stored = CLOCK.monotonic(), await stored_of(database)
            # 4.
            ended, _ = await _until(database, workload.events, probes)
        finally:
            for probe in probes:
                if probe.process is not None:
                    await asyncio.to_thread(probe.process.stop, GRACE_S)
        return Scale(partitions, workers, (workload.events - stored) / (ended - joined), joined - begun)


async def _shared(probes: Sequence[WorkerProbe], topic: str, partitions: int) -> bool:
    counts = [await probe.counts(topic) for probe in probes]
    owned = [len(each.lags) for each in counts if each is not None]
    return len(owned) == len(probes) and all(owned) and sum(owned) == partitions


async def stored_of(database: Database) -> int:
    """Events with their rows: where batches end at different times, the rows are behind."""
    return await reached(database, INGEST, 0)


async def _until(database: Database, events: int, probes: Sequence[WorkerProbe]) -> tuple[float, int]:
    end = CLOCK.monotonic() + RUN_LIMIT_S
    while CLOCK.monotonic() < end:
        stored = await stored_of(database)
        if stored >= events:
            return CLOCK.monotonic(), stored
        for probe in probes:
            probe.require_alive()
        await CLOCK.sleep(POLL_S)
    raise Fatal(f"{stored} of {events} events were stored after {RUN_LIMIT_S:.0f} s")


async def measure_scales(
    given: Fixture,
    all_partitions: Sequence[int],
    all_workers: Sequence[int],
    workload: Workload,
    say: Callable[[str], None],
) -> list[Scale]:
    """Every number of workers on every number of partitions; what cannot be measured is reported and left out."""
    found = []
    for partitions in all_partitions:
        topic = f"scale-{partitions}"
        await publish_workload(given, topic, workload, partitions)
        for workers in all_workers:
            name = f"{workers} workers on {partitions} partitions"
            try:
                found.append(await measure_scale(given, topic, partitions, workers, workload))
            except WorkerError as error:
                say(f"{name}: {error}")
            else:
                say(f"{name}: {found[-1].rate:,.0f} events/s")
    return found
