"""The durable offsets of the owned partitions, kept in their leases, and what is found missing by them."""

from collections.abc import Mapping

import structlog

from worker.contract.routes import routes
from worker.errors import StoreBehind
from worker.ingest.time_series import SeriesWriter
from worker.kafka.record import Partition
from worker.settings import IngestSettings, MissingRecords, variable
from worker.storage.database import Database
from worker.storage.durable_offsets import OffsetRange, Step, advance, begin_at, make_leases, read_held
from worker.storage.partition_lease import PartitionLease
from worker.telemetry.metrics import Metrics
from worker.timing import Clock

log = structlog.get_logger(__name__)

_REMEDY = "`sevenp-worker reingest --missing` brings back what Kafka still has"


class LeaseOffsets:
    """Written before the group is told of an offset: what the group has, the store has, or it was lost since."""

    def __init__(self, database: Database, settings: IngestSettings, clock: Clock, metrics: Metrics) -> None:
        self._database = database
        self._settings = settings
        self._topics = tuple(routes(settings.topics))
        self._clock = clock
        self._metrics = metrics
        self._leases: dict[Partition, PartitionLease] = {}
        self._at: dict[Partition, int] = {}
        self._missing: dict[Partition, tuple[OffsetRange, ...]] = {}

    async def make(self, firsts: Mapping[Partition, int]) -> None:
        """Make leases for partitions that the group begins to read here, before it is told."""
        await make_leases(self._database, firsts, self._clock.now())

    async def begin(
        self,
        writers: Mapping[Partition, SeriesWriter],
        committed: Mapping[Partition, int],
        starts: Mapping[Partition, int],
    ) -> None:
        """Hold what the group has read against what the leases say, and note where this owner begins.

        `committed` are the group's own offsets, without those that were chosen just now. A log that was made anew is
        no sign of anything. Raises StoreBehind, by setting, while records are missing; Fenced for a newer owner.
        """
        self._leases = {partition: writer.lease for partition, writer in writers.items()}
        held = await read_held(self._database, writers)
        found = {
            partition: OffsetRange(durable, offset - 1)
            for partition, offset in committed.items()
            if partition in held
            and (durable := held[partition].durable) is not None
            and durable < offset <= starts.get(partition, -1)
        }
        await begin_at(self._database, starts, self._leases, found)
        self._at = dict(starts)
        new = {partition: (each,) for partition, each in found.items()}
        self._missing = {p: held[p].missing + new.get(p, ()) for p in held}
        self._report()

    async def advance(self, positions: Mapping[Partition, int]) -> None:
        """Note these offsets, of which the group is told next. Raises Fenced for a newer owner, or an older store."""
        moved = {p: offset for p, offset in positions.items() if offset != self._at.get(p, offset)}
        await advance(self._database, [Step(self._leases[p], self._at[p], moved[p]) for p in moved])
        self._at |= moved

    async def look_again(self) -> None:
        """Ask whether what was missing has been brought back since; nothing is asked where nothing was missing."""
        if any(self._missing.values()):
            held = await read_held(self._database, self._missing)
            self._missing = {partition: each.missing for partition, each in held.items()}
            self.show()

    def forget(self) -> None:
        """Forget the assignment, which is over."""
        self._leases, self._at, self._missing = {}, {}, {}
        self.show()

    def show(self) -> None:
        """Set the gauge `kafka_missing_records`."""
        records = dict.fromkeys((*self._topics, *(p.topic for p in self._missing)), 0)
        for partition, ranges in self._missing.items():
            records[partition.topic] += sum(each.records for each in ranges)
        for topic, number in records.items():
            self._metrics.kafka_missing_records.labels(topic).set(number)

    def _report(self) -> None:
        self.show()
        named = [(partition, each) for partition, ranges in self._missing.items() for each in ranges]
        for partition, each in named:
            log.error(
                "records_missing_in_mongodb",
                topic=partition.topic,
                partition=partition.number,
                first_offset=each.first_offset,
                last_offset=each.last_offset,
                reason="the group has read them and the store does not hold them: was a backup restored?",
                remedy=_REMEDY,
            )
        if named and self._settings.missing_records is MissingRecords.REFUSE:
            places = ", ".join(
                f"{p.topic}/{p.number} from {each.first_offset:,} to {each.last_offset:,}"
                for p, each in named
            )
            raise StoreBehind(
                f"MongoDB does not hold records that the group has read ({places}): was a backup restored? "
                f"{_REMEDY}; {variable('missing_records')}={MissingRecords.GO_ON} lets ingest go on before that"
            )
