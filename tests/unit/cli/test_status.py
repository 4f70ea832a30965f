"""What of a look at everything is one screen."""

import pytest

from worker.app.status import TopicLag
from worker.cli.status import ranges


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
