"""What of a look at everything is one screen."""

from datetime import UTC, datetime

import pytest

from worker.app.status import Status, TopicLag
from worker.cli.status import ranges, verdict


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [([], ""), ([3], "3"), ([0, 1, 2, 3], "0-3"), ([7, 0, 1, 3], "0-1, 3, 7"), ([0, 2, 4], "0, 2, 4")],
)
def test_partitions_are_shown_shortly(numbers: list[int], shown: str) -> None:
    assert ranges(numbers) == shown


def test_what_nobody_reads_is_known_where_kafka_tells() -> None:
    assert TopicLag("t", 4, 0, 0, {"a": [0, 2], "b": [3]}).read_by_nobody == [1]
    assert TopicLag("t", 2, 0, 0, {}).read_by_nobody == [0, 1]
    assert TopicLag("t", 4, 0, 0, None).read_by_nobody == []


def test_the_last_line_says_what_is_wrong() -> None:
    found = Status(datetime.now(UTC), {"mongodb": None, "kafka": None})
    assert verdict(found) == "MongoDB and Kafka answer, and each role has a live worker."
    found.workers = []
    assert verdict(found) == "No live worker has ingest, progress, counts, notify, retry."
    found.unknown = {"leases": "a reason"}
    assert verdict(found).startswith("Not everything could be looked at (leases); no live worker has ingest,")
    found.workers, found.dependencies = None, {"mongodb": "frozen", "kafka": "away"}
    assert verdict(found) == "MongoDB and Kafka do not answer."
