"""Rows are cut into commands the server takes, in order, each row once."""

from typing import Any
from uuid import uuid4

import bson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clocks import ManualClock
from tests.unit.ingest.samples import event_id
from worker.errors import Fenced, Refused
from worker.ingest.time_series import MAX_BATCH_AGE_S, SeriesWriter, assert_young, commands, due_to_burn
from worker.kafka.record import Batch
from worker.storage.partition_lease import PartitionLease

SERVER_LIMIT_BYTES = 16 * 1024 * 1024


NO_DATABASE: Any = None


def row(number: int, size: int = 0) -> dict[str, Any]:
    return {"_id": event_id(number), "details": {"text": "x" * size}}


def cut(rows: list[dict[str, Any]], max_rows: int = 20_000, max_bytes: int = 15_000_000) -> list[list[Any]]:
    return [[blob["_id"] for blob in command] for command in commands(rows, max_rows, max_bytes)]


def test_no_rows_are_no_command() -> None:
    assert cut([]) == []


def test_a_command_has_at_most_so_many_rows() -> None:
    assert [len(command) for command in cut([row(n) for n in range(25)], max_rows=10)] == [10, 10, 5]


def test_a_row_over_the_byte_limit_goes_alone() -> None:
    assert [len(command) for command in cut([row(1), row(2, 500), row(3)], max_bytes=200)] == [1, 1, 1]


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 400), max_size=40),
    max_rows=st.integers(1, 12),
    max_bytes=st.integers(600, 3_000),
)
def test_every_row_is_in_one_command_in_order_within_both_limits(
    sizes: list[int], max_rows: int, max_bytes: int
) -> None:
    rows = [row(number, size) for number, size in enumerate(sizes)]
    found = list(commands(rows, max_rows, max_bytes))
    assert [blob["_id"] for command in found for blob in command] == [event_id(n) for n in range(len(sizes))]
    assert all(1 <= len(command) <= max_rows for command in found)
    assert all(sum(len(blob.raw) for blob in command) <= max_bytes for command in found)


def test_a_full_command_of_small_rows_stays_below_what_the_server_takes() -> None:
    [command, *_] = commands((row(number, 660) for number in range(20_001)), 20_000, 15_000_000)
    message = bson.encode({"documents": command, "stmtIds": list(range(len(command)))})
    assert len(command) > 19_000
    assert len(message) < SERVER_LIMIT_BYTES


def test_a_row_that_bson_cannot_hold_is_refused() -> None:
    with pytest.raises(Refused):
        cut([{"_id": event_id(1), "details": {"text": "\ud800"}}])


def test_a_batch_is_too_old_to_be_written_after_ten_minutes() -> None:
    clock = ManualClock()
    batch = Batch((), {}, generation=1, polled_at=clock.monotonic(), read_at=clock.now())
    clock.advance(MAX_BATCH_AGE_S)
    assert_young(batch, clock)
    clock.advance(0.001)
    with pytest.raises(Fenced):
        assert_young(batch, clock)


async def test_a_writer_that_could_not_burn_again_is_behind_those_that_were_not_tried() -> None:
    clock = ManualClock()
    lease = PartitionLease("t", 0, uuid4(), (uuid4(),))
    failed, untried = SeriesWriter(lease, clock.monotonic()), SeriesWriter(lease, clock.monotonic())
    assert due_to_burn([failed, untried], clock) is failed
    with pytest.raises(AttributeError):
        await failed.burn_again(NO_DATABASE, clock, deadline_s=1.0)
    assert due_to_burn([failed, untried], clock) is untried
