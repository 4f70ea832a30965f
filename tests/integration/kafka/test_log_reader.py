"""Reading some offsets of a log, without a group: what is asked first disturbs nothing that is read then."""

from tests.support.ingest import event, options, records, send
from tests.support.waiting import until
from worker.kafka.log_reader import LogReader
from worker.kafka.record import Batch, Partition
from worker.timing import SystemClock


async def test_what_the_client_says_of_partitions_before_they_are_read_ends_no_reading(
    kafka: str, topic: str
) -> None:
    """Of an assignment without positions it says that no offset is known, whenever it has found out."""
    (_, offset), *_ = await send(kafka, topic, records([event(1)], partition=2))
    wanted = Partition(topic, 2)
    async with LogReader(options(kafka, topic).consumer, SystemClock()) as reader:
        assert wanted in await reader.partitions()
        complaints = reader._consumer._fetcher._records  # noqa: SLF001 - no public way tells when it is there
        await until(lambda: len(complaints) == 4, "the client has said it of every partition")
        reader.read_from({wanted: offset})

        async def batch() -> Batch | None:
            polled = await reader.poll()
            return polled if isinstance(polled, Batch) else None

        polled = await until(batch, "the record is read")
    assert [each.source.offset for each in polled.records] == [offset]
