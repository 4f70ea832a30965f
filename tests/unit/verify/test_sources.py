"""Which Kafka record an event came from is told once, in little memory."""

import sys
from datetime import UTC, datetime, timedelta

from worker.verify.sources import Sources

AT = datetime(2024, 3, 1, 12, tzinfo=UTC)


def source(offset: int, partition: int = 0, index: int = 0) -> dict[str, object]:
    return {"topic": "t", "partition": partition, "offset": offset, "index": index}


def test_a_record_is_seen_once_whatever_stands_between() -> None:
    sources = Sources()
    assert not any(sources.seen(source(offset), AT) for offset in range(2_000))

    assert sources.seen(source(1_234), AT)


def test_another_partition_place_or_day_is_another_record() -> None:
    sources = Sources()
    sources.seen(source(5), AT)

    assert not sources.seen(source(5, partition=1), AT)
    assert not sources.seen(source(5, index=1), AT)
    assert not sources.seen(source(5), AT + timedelta(days=1))


def test_a_log_that_began_again_says_nothing() -> None:
    sources = Sources({("t", 0)})
    sources.seen(source(5), AT)

    assert not sources.seen(source(5), AT)


def test_a_million_dense_offsets_take_less_than_a_megabyte() -> None:
    sources = Sources()
    for offset in range(1_000_000):
        sources.seen(source(offset), AT)
    spans = sources._spans  # noqa: SLF001

    held = sys.getsizeof(spans) + sum(sys.getsizeof(key) + sys.getsizeof(bits) for key, bits in spans.items())
    assert held < 1_000_000
