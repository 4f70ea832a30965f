"""The bytes every channel sends."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from bson import ObjectId
from bson.decimal128 import Decimal128
from hypothesis import given
from hypothesis import strategies as st

from worker.notify.message import message_of
from worker.storage.outbox import notification_row

USER, COURSE = ObjectId("65a1f0c2e4b0a1b2c3d4e5f6"), ObjectId("65a1f0c2e4b0a1b2c3d4e5aa")
STREAM = f"course_{COURSE}_user_{USER}"
NOON = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)


def row(**data: Any) -> dict[str, Any]:
    return notification_row("completion", STREAM, USER, COURSE, by="live", data=data, now=NOON)


def test_the_body_is_json_that_says_what_happened_to_whom() -> None:
    message = message_of(row(percentage=100.0, reached_at=NOON, amount=Decimal128("49.90"), extra=None))
    assert json.loads(message.body) == {
        "key": f"completion:{STREAM}",
        "kind": "completion",
        "stream_id": STREAM,
        "user_id": str(USER),
        "course_id": str(COURSE),
        "created_at": "2026-03-01T12:00:00.123Z",
        "data": {
            "percentage": 100.0,
            "reached_at": "2026-03-01T12:00:00.123Z",
            "amount": "49.90",
            "extra": None,
        },
    }
    assert message.key == f"completion:{STREAM}"


def test_times_are_utc_whatever_zone_they_were_written_in() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert message_of(row(at=there)).body == message_of(row(at=NOON)).body


@given(attempts=st.integers(0, 10**6), error=st.none() | st.text(), owner=st.none() | st.text())
def test_an_attempt_leaves_no_trace_in_the_body(attempts: int, error: str | None, owner: str | None) -> None:
    first = row(percentage=100.0)
    later = {**first, "attempts": attempts, "last_error": error, "lease_owner": owner, "status": "taken"}
    later = dict(reversed(later.items()))
    assert message_of(later).body == message_of(first).body


@pytest.mark.parametrize("value", [b"bytes", object(), 1 << 64])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        message_of(row(value=value))
