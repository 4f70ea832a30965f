"""What Kafka says of itself, as findings need it: each question is asked once, when somebody wants to know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from worker.errors import Retryable
from worker.kafka.cluster import Brokers
from worker.kafka.consumer import ConsumerOptions
from worker.kafka.log_reader import LogReader
from worker.kafka.positions import Gap, LogRange
from worker.kafka.record import Partition
from worker.operate.asking import NotTold, Once
from worker.settings import Settings
from worker.timing import Clock

# The newest record of each partition and what came with it: a look, not a reading.
_MOST_RECORDS, _MOST_BYTES = 1_000, 5_000_000
# A fetch waits for 100 ms where there is nothing: an idle broker has answered for every partition long before.
_POLLS = 20


@dataclass(frozen=True, slots=True)
class Positions:
    """Where the log and the group stand, by partition; `newest` are the times of the newest records, where seen."""

    logs: Mapping[Partition, LogRange]
    committed: Mapping[Partition, int]
    newest: Mapping[Partition, datetime]

    def end(self, partition: Partition) -> int:
        """The next offset to be written."""
        return self.logs[partition].end or 0


class KafkaFacts:
    """`read` are the topics of ingest, `written` those of notifications."""

    def __init__(
        self,
        brokers: Brokers,
        settings: Settings,
        read: Sequence[str],
        written: Sequence[str],
        clock: Clock,
    ) -> None:
        self.read = read
        self.topics = (*read, *written)
        self._settings = settings
        self._brokers = brokers
        self._clock = clock
        self.state = Once(partial(brokers.state, self.topics))
        self.group = Once(brokers.group)
        self.positions = Once(self._positions)
        self._of_broker = Once(self._broker_configuration)
        self._of_topic = {topic: Once(partial(brokers.topic_configuration, topic)) for topic in self.topics}

    async def present(self) -> Sequence[str]:
        """The topics of ingest that exist; of an absent one nothing else can be said."""
        topics = (await self.state()).topics
        return [topic for topic in self.read if topic in topics]

    async def configuration(self, topic: str) -> Mapping[str, str]:
        """All settings of a topic that the broker tells. Raises Refused where it does not know the question."""
        return await self._of_topic[topic]()

    async def of_topic(self, topic: str, name: str) -> str:
        """One setting of a topic. Raises NotTold for one that the broker does not name."""
        configuration = await self.configuration(topic)
        if name not in configuration:
            raise NotTold(f"the broker does not tell {name} of topic {topic}: look with kafka-configs.sh")
        return configuration[name]

    async def of_broker(self, name: str) -> str:
        """One setting of a broker, taken for that of all. Raises NotTold for one that it does not name."""
        configuration = await self._of_broker()
        if name not in configuration:
            raise NotTold(f"the brokers do not tell {name}: look into their server.properties")
        return configuration[name]

    async def _broker_configuration(self) -> Mapping[str, str]:
        brokers = (await self.state()).brokers
        try:
            return await self._brokers.broker_configuration(brokers[0])
        except Retryable as error:  # one that does not know the question hangs up
            raise NotTold(f"the brokers do not tell their settings ({error})") from error

    async def _positions(self) -> Positions:
        """Of every partition that ingest reads, from a reader that is no member of the group."""
        security = self._brokers.security
        options = ConsumerOptions(
            self._settings.kafka, security, tuple(self.read), _MOST_RECORDS, _MOST_BYTES
        )
        async with LogReader(options, self._clock) as reader:
            partitions = await reader.partitions()
            logs = await reader.log_ranges(partitions)
            committed = await reader.committed(partitions)
            newest = await _read_newest(reader, logs)
            logs = {each: LogRange(log.begin, _end(reader, each, log)) for each, log in logs.items()}
        return Positions(logs, committed, newest)


async def _read_newest(reader: LogReader, logs: Mapping[Partition, LogRange]) -> Mapping[Partition, datetime]:
    """The time of the newest record of each partition; one that is empty, or ends with a marker, has none.

    Reads for as long as it takes to hear from every partition, and two seconds at most.
    """
    newest: dict[Partition, datetime] = {}
    reader.read_from({each: max(log.begin, (log.end or 0) - 1) for each, log in logs.items()})
    for _ in range(_POLLS):
        polled = await reader.poll()
        if isinstance(polled, Gap):
            break
        for record in polled.records if polled is not None else ():
            if record.timestamp is not None:
                newest[record.partition] = record.timestamp
        if all(each in newest or reader.high_watermark(each) == log.begin for each, log in logs.items()):
            break
    return newest


def _end(reader: LogReader, partition: Partition, log: LogRange) -> int:
    """As the fetch says it, too: asked for the end, some brokers name the begin of the last batch."""
    return max(log.end or 0, reader.high_watermark(partition) or 0)
