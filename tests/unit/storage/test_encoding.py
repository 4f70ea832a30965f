"""What BSON cannot hold is found document by document, before anything is sent."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import bson
import pytest
from bson import ObjectId

from worker.storage.database import CODEC_OPTIONS
from worker.storage.encoding import encoded


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "value", ["\ud800", 2**63, -(2**63) - 1, {"nul\0key": 1}, object(), {1: "not a string"}, nested(100_000)]
)
def test_what_bson_cannot_hold_has_no_encoding(value: Any) -> None:
    assert encoded({"_id": 1, "details": {"inner": [value]}}) is None


def test_what_bson_can_hold_comes_back_equal() -> None:
    document = {
        "_id": uuid4(),
        "user_id": ObjectId(),
        "occurred_at": datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC),
        "value": 2**63 - 1,
        "details": {"text": "nul\0 in a value", "list": [1, 2.5, None, True, b"\xff"]},
    }
    blob = encoded(document)
    assert blob is not None
    assert bson.decode(blob.raw, CODEC_OPTIONS) == document
