"""Records become events, dead letters or tombstones, one by one."""

from datetime import timedelta

from tests.unit.contract.records import EXAMPLES
from tests.unit.ingest.samples import NOON, TOPIC, event_id, record
from worker.contract.codec import encode
from worker.contract.events.interactions import INTERACTIONS
from worker.contract.formats import Format
from worker.contract.limits import DEFAULT_LIMITS, Limits
from worker.contract.rejection import Rejected, RejectReason
from worker.contract.routes import Route, Topics, routes
from worker.ingest.decode import decode_records

TABLE = routes(Topics(TOPIC))
GOOD = encode(EXAMPLES["view"])


def test_one_bad_record_does_not_harm_its_neighbours() -> None:
    batch = [record(0, GOOD), record(1, b"{"), record(2, None), record(3, GOOD)]
    decoded = decode_records(batch, TABLE, DEFAULT_LIMITS, NOON)
    assert [candidate.record for candidate in decoded.candidates] == [batch[0], batch[3]]
    assert [
        (dead_letter.record, dead_letter.rejected.reason) for dead_letter in decoded.outcome.dead_letters
    ] == [(batch[1], RejectReason.NOT_JSON)]
    assert decoded.outcome.tombstones == [batch[2]]


def test_an_empty_value_is_no_tombstone() -> None:
    decoded = decode_records([record(0, b"")], TABLE, DEFAULT_LIMITS, NOON)
    assert [dead_letter.rejected.reason for dead_letter in decoded.outcome.dead_letters] == [
        RejectReason.NOT_JSON
    ]


def test_the_limits_given_decide() -> None:
    decoded = decode_records([record(0, GOOD)], TABLE, Limits(max_record_bytes=len(GOOD) - 1), NOON)
    assert [dead_letter.rejected.reason for dead_letter in decoded.outcome.dead_letters] == [
        RejectReason.TOO_LARGE
    ]


def test_the_same_records_give_the_same_events() -> None:
    batch = [record(0, GOOD), record(1, b"[]")]
    first, second = (decode_records(batch, TABLE, DEFAULT_LIMITS, NOON) for _ in range(2))
    assert (first.candidates, first.outcome.dead_letters) == (second.candidates, second.outcome.dead_letters)


def test_a_record_without_a_time_is_as_old_as_its_reading() -> None:
    ahead = encode({**EXAMPLES["view"], "occurred_at": (NOON + timedelta(days=2)).isoformat()})
    undated = [record(0, GOOD, timestamp=None), record(1, ahead, timestamp=None)]
    decoded = decode_records(undated, TABLE, DEFAULT_LIMITS, NOON)
    assert [candidate.record for candidate in decoded.candidates] == [undated[0]]
    assert [dead_letter.rejected.reason for dead_letter in decoded.outcome.dead_letters] == [
        RejectReason.TIME_OUT_OF_RANGE
    ]


def test_a_record_that_is_only_bytes_is_a_dead_letter_even_if_they_look_like_an_event() -> None:
    [dead_letter] = decode_records(
        [record(0, GOOD, unreadable="why")], TABLE, DEFAULT_LIMITS, NOON
    ).outcome.dead_letters
    assert (dead_letter.rejected.reason, dead_letter.rejected.message) == (RejectReason.UNDECODABLE, "why")


def _lines(value: bytes) -> list[bytes | Rejected]:
    return [
        line if line else Rejected(RejectReason.NOT_JSON, "an empty line") for line in value.split(b"\n")[1:]
    ]


LINES = Format("lines", lambda headers, value: ("format", b"lines") in headers, _lines)
WITH_LINES = {TOPIC: Route(TOPIC, (INTERACTIONS,), formats=(LINES,))}


def _events(number: int) -> list[bytes]:
    return [encode({**EXAMPLES["view"], "event_id": str(event_id(each))}) for each in range(number)]


def test_each_event_of_a_record_goes_its_own_way_under_its_own_place() -> None:
    first, second = _events(2)
    one = record(7, b"\n".join([b"", first, b"{", second, b""]), headers=(("format", b"lines"),))
    decoded = decode_records([one], WITH_LINES, DEFAULT_LIMITS, NOON)
    assert [each.event.event_id for each in decoded.candidates] == [event_id(0), event_id(1)]
    assert [each.record.source.place for each in decoded.candidates] == [0, 2]
    assert [each.record.source.place for each in decoded.outcome.dead_letters] == [1, 3]
    assert {each.record.value for each in decoded.outcome.dead_letters} == {one.value}
    assert [each.source.place for each in decoded.outcome.further] == [1, 2, 3]


def test_a_record_that_holds_no_event_is_skipped_and_accounted_for() -> None:
    one = record(7, b"nothing", headers=(("format", b"lines"),))
    decoded = decode_records([one], WITH_LINES, DEFAULT_LIMITS, NOON)
    assert (decoded.outcome.tombstones, decoded.candidates, decoded.outcome.further) == ([one], [], [])


def test_without_its_header_a_record_is_in_the_contracts_own_format() -> None:
    [candidate] = decode_records([record(0, GOOD)], WITH_LINES, DEFAULT_LIMITS, NOON).candidates
    assert candidate.record.source.place == 0


def test_a_record_beyond_the_limit_is_too_large_in_any_format() -> None:
    one = record(7, b"x" * 100, headers=(("format", b"lines"),))
    decoded = decode_records([one], WITH_LINES, Limits(max_record_bytes=99), NOON)
    assert [each.rejected.reason for each in decoded.outcome.dead_letters] == [RejectReason.TOO_LARGE]
