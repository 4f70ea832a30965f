"""Records become events, dead letters or tombstones, one by one."""

from datetime import timedelta

from tests.unit.contract.records import EXAMPLES
from tests.unit.ingest.samples import NOON, TOPIC, record
from worker.contract.codec import DEFAULT_LIMITS, Limits, encode
from worker.contract.event import RejectReason
from worker.ingest.decode import decode_records
from worker.ingest.routes import routes

TABLE = routes(TOPIC)
GOOD = encode(EXAMPLES["view"])


def test_one_bad_record_does_not_harm_its_neighbours() -> None:
    batch = [record(0, GOOD), record(1, b"{"), record(2, None), record(3, GOOD)]
    decoded = decode_records(batch, TABLE, DEFAULT_LIMITS, NOON)
    assert [candidate.record for candidate in decoded.candidates] == [batch[0], batch[3]]
    assert [(dead_letter.record, dead_letter.rejected.reason) for dead_letter in decoded.dead_letters] == [
        (batch[1], RejectReason.NOT_JSON)
    ]
    assert decoded.tombstones == [batch[2]]


def test_an_empty_value_is_no_tombstone() -> None:
    decoded = decode_records([record(0, b"")], TABLE, DEFAULT_LIMITS, NOON)
    assert [dead_letter.rejected.reason for dead_letter in decoded.dead_letters] == [RejectReason.NOT_JSON]


def test_the_limits_given_decide() -> None:
    decoded = decode_records([record(0, GOOD)], TABLE, Limits(max_record_bytes=len(GOOD) - 1), NOON)
    assert [dead_letter.rejected.reason for dead_letter in decoded.dead_letters] == [RejectReason.TOO_LARGE]


def test_the_same_records_give_the_same_events() -> None:
    batch = [record(0, GOOD), record(1, b"[]")]
    first, second = (decode_records(batch, TABLE, DEFAULT_LIMITS, NOON) for _ in range(2))
    assert (first.candidates, first.dead_letters) == (second.candidates, second.dead_letters)


def test_a_record_without_a_time_is_as_old_as_its_reading() -> None:
    ahead = encode({**EXAMPLES["view"], "occurred_at": (NOON + timedelta(days=2)).isoformat()})
    undated = [record(0, GOOD, timestamp=None), record(1, ahead, timestamp=None)]
    decoded = decode_records(undated, TABLE, DEFAULT_LIMITS, NOON)
    assert [candidate.record for candidate in decoded.candidates] == [undated[0]]
    assert [dead_letter.rejected.reason for dead_letter in decoded.dead_letters] == [
        RejectReason.TIME_OUT_OF_RANGE
    ]


def test_a_record_that_is_only_bytes_is_a_dead_letter_even_if_they_look_like_an_event() -> None:
    [dead_letter] = decode_records(
        [record(0, GOOD, unreadable="why")], TABLE, DEFAULT_LIMITS, NOON
    ).dead_letters
    assert (dead_letter.rejected.reason, dead_letter.rejected.message) == (RejectReason.UNDECODABLE, "why")
