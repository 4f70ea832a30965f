"""Shows the lag of the owned partitions, by ends that are asked for beside ingest, whatever it waits for."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import structlog

from worker.errors import Retryable
from worker.ingest.lag import EndHistory, Lag, Owned, lag_of
from worker.kafka.consumer import ConsumerOptions
from worker.kafka.log_ends import LogEnds, LogEndsClient
from worker.kafka.record import Partition
from worker.telemetry.metrics import Metrics
from worker.telemetry.waits import Wait
from worker.timing import Clock, cancel_and_wait

log = structlog.get_logger(__name__)

# A broker that does not answer is asked less often: each attempt writes its lines into the log of the client library.
_SILENT_TIMES = 3

Ownership = Callable[[], Mapping[Partition, Owned] | None]
"""What this worker owns; None while it is not decided who owns what."""


class LagGauges:
    """Asks Kafka every few seconds, and shows what follows from the last answer as often, by the time it is then.

    While the group is being joined those that were owned before are shown, until it is given up: a lag does not end
    with its owner.
    """

    def __init__(
        self, ownership: Ownership, options: ConsumerOptions, every_s: float, clock: Clock, metrics: Metrics
    ) -> None:
        self._ownership = ownership
        self._topics = options.topics
        self.there: frozenset[str] = frozenset()
        """The topics that exist, as of Kafka's last answer."""
        self._every_s = every_s
        self._clock = clock
        self._metrics = metrics
        self._client = LogEndsClient(options)
        self._histories: dict[Partition, EndHistory] = {}
        self._committed: Mapping[Partition, int] = {}
        self._bases: dict[Partition, int] = {}
        self._owned: Mapping[Partition, Owned] | None = None
        self._owned_at = 0.0
        self._answers_since: float | None = None
        self._longest_rejoin_s = options.kafka.longest_rejoin_s
        self._shown: set[Partition] = set()

    async def run(self) -> None:
        """Ask and show until cancelled. Whatever fails shows in the time of the last answer, and nowhere else."""
        asking = asyncio.create_task(self._ask_again_and_again(), name="lag: asking")
        try:
            while True:
                await self._clock.sleep(self._every_s)
                with _alone():
                    self._show()
        finally:
            await cancel_and_wait(asking)

    async def _ask_again_and_again(self) -> None:
        wait = Wait(log, self._clock, "lag_waits_for_kafka")
        try:
            while True:
                pause_s = self._every_s
                try:
                    self._take(await self._client.ask(self._not_made_ready()))
                    wait.over()
                except Retryable as error:
                    self._answers_since = None
                    wait.failed(error)
                    pause_s *= _SILENT_TIMES
                except (
                    Exception
                ) as error:  # a defect: what its client is worth nobody knows, a new one is asked next
                    _tell(error)
                    with _alone():
                        await self._client.close()
                await self._clock.sleep(pause_s)
        finally:
            await self._client.close()

    def _last_owned(self) -> Mapping[Partition, Owned] | None:
        """What is owned now, or was before the group began to be joined again."""
        if (owned := self._ownership()) is not None:
            self._owned, self._owned_at = owned, self._clock.monotonic()
        return self._owned

    def _give_up_what_is_anothers(self) -> None:
        """Kafka answers, and the group has not let this worker in for too long: who has them shows them.

        While Kafka is silent the group lets nobody in: that time does not count.
        """
        now = self._clock.monotonic()
        if self._answers_since is None:
            self._answers_since = now
        if not self._last_owned() or now - max(self._owned_at, self._answers_since) <= self._longest_rejoin_s:
            return
        self._owned, self._bases = None, {}
        for partition in self._shown:
            self._metrics.forget_partition(partition.topic, partition.number)
        self._shown = set()
        for topic in self._topics:
            self._metrics.kafka_scalable_lag_records.remove_by_labels({"topic": topic})

    def _not_made_ready(self) -> list[Partition]:
        """Partitions of which only Kafka knows what is durable: without MongoDB none is made ready."""
        return [partition for partition, each in (self._last_owned() or {}).items() if each.durable is None]

    def _take(self, answer: LogEnds) -> None:
        monotonic, now = self._clock.monotonic(), self._clock.now().timestamp()
        self._give_up_what_is_anothers()
        owned = self._last_owned() or {}
        self._committed = answer.committed
        for partition, end in answer.ends.items():
            fetched = owned[partition].end if partition in owned else None
            # Some brokers answer with less than the end; whoever fetches is told the right one.
            self._histories.setdefault(partition, EndHistory()).saw(max(end, fetched or 0), monotonic)
        partitions = Counter(partition.topic for partition in answer.partitions)
        for topic in partitions.keys() - self.there:
            self._metrics.prepare_topic(topic)
        self.there = frozenset(partitions)
        ended = Counter(partition.topic for partition in answer.ends)
        for topic, number in partitions.items():
            self._metrics.kafka_topic_partitions.labels(topic).set(number)
            if ended[topic] == number:
                self._metrics.kafka_lag_updated_timestamp_seconds.labels(topic).set(now)
        self._show()

    # ---- showing ----

    def _show(self) -> None:
        owned = self._last_owned()
        if owned is None:
            return
        self._bases = {p: base for p, each in owned.items() if (base := self._base(p, each)) is not None}
        lags = {partition: self._lag(partition, owned[partition]) for partition in self._bases}
        known = {partition: lag for partition, lag in lags.items() if lag is not None}
        for partition, lag in known.items():
            labels = (partition.topic, str(partition.number))
            self._metrics.kafka_consumer_lag_records.labels(*labels).set(lag.records)
            self._metrics.kafka_consumer_lag_seconds.labels(*labels).set(lag.seconds)
        for partition in self._shown - known.keys():
            self._metrics.forget_partition(partition.topic, partition.number)
        self._shown = set(known)
        for topic in self.there:
            # More workers would not read what is paused.
            read = [known.get(each) for each in owned if each.topic == topic and not owned[each].is_paused]
            self._show_scalable(topic, read)

    def _base(self, partition: Partition, owned: Owned) -> int | None:
        """The next offset to read, as far as anybody knows: without an answer yet, that of the assignment before."""
        if owned.durable is not None:
            return owned.durable
        return self._committed.get(partition, self._bases.get(partition))

    def _show_scalable(self, topic: str, lags: list[Lag | None]) -> None:
        known = [lag.records for lag in lags if lag is not None]
        if len(known) == len(lags):
            self._metrics.kafka_scalable_lag_records.labels(topic).set(sum(known))

    def _lag(self, partition: Partition, owned: Owned) -> Lag | None:
        base, monotonic = self._bases[partition], self._clock.monotonic()
        history = self._histories.setdefault(partition, EndHistory())
        if owned.end is not None and owned.end > (-1 if history.end is None else history.end):
            history.saw(owned.end, monotonic)
        lag = lag_of(history, owned, base, now=self._clock.now(), monotonic=monotonic)
        history.forget_below(base)
        return lag


@contextmanager
def _alone() -> Iterator[None]:
    """A defect in measuring is told, and ends neither the measuring nor ingest."""
    try:
        yield
    except Exception as error:
        _tell(error)


def _tell(error: Exception) -> None:
    log.error("lag_not_measured", error_class=type(error).__name__, exc_info=error)
