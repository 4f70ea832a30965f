"""From published to visible: events at a steady rate into a worker with all roles, watched in `user_progress`."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from bson import ObjectId

from bench.checkpoints import Checkpoints, checkpoints
from bench.contestants.field import SENDS_OLD_NEWS
from bench.figures import percentile
from bench.fixture import CLOCK, PARTITIONS, Fixture
from bench.processes import usage
from bench.records import Workload
from bench.report import Say
from worker.contract.identity import stream_object_id
from worker.devstack.servers.worker_process import WorkerProbe, start_worker
from worker.errors import Fatal
from worker.kafka.files import OutgoingRecord
from worker.storage.database import Database
from worker.timing import cancel_and_wait

LINGER_MS = 5
_TICK_S = 0.005  # events are handed over in portions of this time: finer than what is measured
_WARM_UP = 500  # events before the clock starts: consumers, leases and caches are then in place
_WATCHED_SHARE = 0.1  # of the learners: watching all of them would cost as much as the work itself
_VISIBLE_LIMIT_S = 120.0
_AWAIT_MS = 100


class Seen(NamedTuple):
    """When an event was handed to the producer, and when its learner's record showed it; monotonic seconds."""

    published: float
    visible: float

    @property
    def seconds(self) -> float:
        return self.visible - self.published


@dataclass(frozen=True, slots=True)
class Latency:
    """At one rate: the watched learners' events, and when mongod wrote checkpoints meanwhile.

    `reached` is the rate that was published. `worker_cores` and `mongod_cores` are CPU seconds a second while events
    were published.
    """

    rate_per_s: float
    reached_per_s: float
    seen: Sequence[Seen]
    checkpoints: Checkpoints
    peak_bytes: int
    worker_cores: float
    mongod_cores: float

    def as_json(self) -> dict[str, Any]:
        """`p99_calm_ms` is of the events that met no checkpoint; None where all of them met one."""
        seconds = [each.seconds for each in self.seen]
        calm = [each.seconds for each in self.seen if not self.checkpoints.touch(*each)]
        p50, p99 = (percentile(seconds, share) * 1000 for share in (0.5, 0.99))
        return {
            "rate_per_s": round(self.rate_per_s),
            "reached_per_s": round(self.reached_per_s),
            "events_watched": len(seconds),
            "p50_ms": round(p50, 1),
            "p99_ms": round(p99, 1),
            "max_ms": round(max(seconds) * 1000, 1),
            "p99_calm_ms": round(percentile(calm, 0.99) * 1000, 1) if calm else None,
            "checkpoint_s": round(self.checkpoints.seconds, 1),
            "peak_mib": round(self.peak_bytes / 2**20),
            "worker_cores": round(self.worker_cores, 2),
            "mongod_cores": round(self.mongod_cores, 2),
        }


@dataclass
class Watched:
    """When the n-th event of each watched stream was published, and which of them are not visible yet."""

    streams: frozenset[ObjectId]
    counted: Counter[ObjectId] = field(default_factory=Counter)
    open: dict[tuple[ObjectId, int], float] = field(default_factory=dict)
    reached: Counter[ObjectId] = field(default_factory=Counter)
    seen: list[Seen] = field(default_factory=list)

    def published(self, stream: ObjectId, now: float) -> None:
        """Events of one stream are published in their order: the n-th gets version n."""
        if stream in self.streams:
            self.counted[stream] += 1
            self.open[stream, self.counted[stream]] = now

    def visible(self, stream: ObjectId, version: int, now: float) -> None:
        """The record of this learner shows all events up to this version."""
        for each in range(self.reached[stream] + 1, version + 1):
            self.seen.append(Seen(self.open.pop((stream, each)), now))
        self.reached[stream] = max(version, self.reached[stream])


async def measure_latency(given: Fixture, rate_per_s: float, seconds: float) -> Latency:
    """1. worker  2. warm up  3. publish at the rate and watch  4. until the last one is visible."""
    topic = f"latency-{rate_per_s:.0f}"
    await given.stack.create_topic(topic, PARTITIONS)
    events = round(rate_per_s * seconds)
    records = await asyncio.to_thread(lambda: list(Workload(_WARM_UP + events).records()))
    streams = [_stream(record) for record in records]
    different = sorted(set(streams))
    watched = Watched(frozenset(different[:: round(1 / _WATCHED_SHARE)]))
    async with given.run(topic) as (task, database):
        folder = given.folder / task.group
        folder.mkdir()
        # 1.
        worker = start_worker(
            folder,
            {
                **SENDS_OLD_NEWS,
                "SEVENP_MONGODB_URI": task.mongodb_uri,
                "SEVENP_KAFKA_BOOTSTRAP_SERVERS": task.bootstrap_servers,
                "SEVENP_KAFKA_GROUP_ID": task.group,
                "SEVENP_TOPIC": topic,
                "SEVENP_DATABASE_PREFIX": database.prefix,
            },
        )
        producer = AIOKafkaProducer(bootstrap_servers=task.bootstrap_servers, acks="all", linger_ms=LINGER_MS)
        await producer.start()
        watching = asyncio.create_task(_watch(database, watched))
        try:
            await worker.wait_until_ready(topic, PARTITIONS)
            # 2.
            numbered = iter(zip(records, streams, strict=True))
            await _publish(producer, topic, numbered, _WARM_UP, rate_per_s, watched)
            await _all_visible(watched, watching)
            watched.seen.clear()
            # 3.
            used = _cpu(given, worker)
            async with checkpoints(given.client) as written:
                took = await _publish(producer, topic, numbered, events, rate_per_s, watched)
                cores = [(now - before) / took for now, before in zip(_cpu(given, worker), used, strict=True)]
                # 4.
                await _all_visible(watched, watching)
            peak = usage(worker.process.pid).peak_bytes if worker.process else 0
        finally:
            await cancel_and_wait(watching)
            await producer.stop()
            if worker.process is not None:
                await asyncio.to_thread(worker.process.stop, 40.0)
    return Latency(rate_per_s, events / took, watched.seen, written, peak, *cores)


def _cpu(given: Fixture, worker: WorkerProbe) -> tuple[float, float]:
    """CPU seconds of the worker and of mongod so far."""
    own = 0.0 if worker.process is None else usage(worker.process.pid).cpu_s
    return own, usage(given.mongod.process.pid).cpu_s


def _stream(record: OutgoingRecord) -> ObjectId:
    course, user = (record.key or b"").decode().split(":")
    return stream_object_id(f"course_{course}_user_{user}")


async def _publish(
    producer: AIOKafkaProducer,
    topic: str,
    records: Iterator[tuple[OutgoingRecord, ObjectId]],
    count: int,
    rate_per_s: float,
    watched: Watched,
) -> float:
    """Hand `count` records over at the rate; returns the seconds it took. Time runs from the handing over."""
    began, sent, flight = CLOCK.monotonic(), 0, []
    while sent < count:
        due = min(count, 1 + int((CLOCK.monotonic() - began) * rate_per_s))
        for _ in range(due - sent):
            record, stream = next(records)
            watched.published(stream, CLOCK.monotonic())
            flight.append(await producer.send(topic, record.value, key=record.key))
        sent = due
        await CLOCK.sleep(_TICK_S)
    took = CLOCK.monotonic() - began
    await asyncio.gather(*flight)
    return took


async def _watch(database: Database, watched: Watched) -> None:
    """Follow the watched learners' records; what a change stream shows has a majority."""
    pipeline: list[dict[str, Any]] = [
        {"$match": {"documentKey._id": {"$in": list(watched.streams)}}},
        {
            "$project": {
                "documentKey": 1,
                "operationType": 1,
                "version": {"$ifNull": ["$updateDescription.updatedFields.version", "$fullDocument.version"]},
            }
        },
    ]
    stream = await database.user_progress.watch(pipeline, max_await_time_ms=_AWAIT_MS)
    try:
        while True:
            change = await stream.try_next()
            if change is not None and change.get("version") is not None:
                watched.visible(change["documentKey"]["_id"], change["version"], CLOCK.monotonic())
    finally:
        await stream.close()


async def _all_visible(watched: Watched, watching: "asyncio.Task[None]") -> None:
    end = CLOCK.monotonic() + _VISIBLE_LIMIT_S
    while watched.open:
        if watching.done():
            watching.result()
        if CLOCK.monotonic() > end:
            raise Fatal(f"{len(watched.open)} watched events are not visible after {_VISIBLE_LIMIT_S:.0f} s")
        await CLOCK.sleep(_TICK_S)


async def latencies(given: Fixture, rates: Sequence[float], seconds: float, say: Say) -> list[Latency]:
    """One rate after the other."""
    measured = []
    for rate in rates:
        measured.append(await measure_latency(given, rate, seconds))
        each = measured[-1].as_json()
        say(
            f"{rate:,.0f} events/s: p50 {each['p50_ms']} ms, p99 {each['p99_ms']} ms, max {each['max_ms']} ms"
        )
    return measured
