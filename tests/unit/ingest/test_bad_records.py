"""The corpus of bad records means what it says."""

from datetime import UTC, datetime

import pytest

from tests.integration.ingest.bad_records import bad_records
from worker.contract.codec import decode_event
from worker.contract.rejection import Rejected, RejectReason

NOW = datetime(2026, 3, 2, tzinfo=UTC)
# Given by ingest, not by the codec: another record came first, the server objected, there is no value to decode. Or
# given where accounts and money come in.
ELSEWHERE = {
    RejectReason.CONFLICT,
    RejectReason.REFUSED_BY_STORE,
    RejectReason.UNDECODABLE,
    RejectReason.FORBIDDEN_FIELD,
}


@pytest.mark.parametrize(
    ("reason", "value"), bad_records(), ids=[f"{n}-{reason}" for n, (reason, _) in enumerate(bad_records())]
)
def test_each_bad_record_is_rejected_for_its_reason(reason: str, value: bytes) -> None:
    result = decode_event(value, timestamp=NOW)
    assert isinstance(result, Rejected)
    assert result.reason.value == reason


def test_there_are_forty_and_every_reason_of_the_codec_is_among_them() -> None:
    reasons = {reason for reason, _ in bad_records()}
    assert len(bad_records()) == 40
    assert reasons == {reason.value for reason in RejectReason if reason not in ELSEWHERE}
