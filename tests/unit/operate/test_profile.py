"""What is read out of the profiler's entries: shapes without values, and the index that would serve."""

from datetime import timedelta
from typing import Any

import pytest

from worker.operate.doctor.profile import index_for, profiled, shape
from worker.operate.doctor.spans import in_words


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({"user_id": "65a4f0c2e13b7a0001aaaaaa"}, "{user_id: ?}"),
        ({"a": {"$gt": 1, "$lt": 5}, "b": {"$in": [1, 2]}}, "{a: {$gt: ?, $lt: ?}, b: {$in: ?}}"),
        ({"$or": [{"a": 1}, {"a": 2}, {"b": 1}]}, "{$or: [{a: ?}, {b: ?}]}"),
        ({}, "{}"),
    ],
)
def test_a_shape_has_names_and_no_values(asked: dict[str, Any], shown: str) -> None:
    assert shape(asked) == shown


@pytest.mark.parametrize(
    ("asked", "sort", "keys"),
    [
        ({"a": 1, "b": {"$gt": 1}}, {}, "{a: 1, b: 1}"),
        ({"b": {"$gt": 1}, "a": 1}, {"c": -1}, "{a: 1, c: -1, b: 1}"),
        ({"$and": [{"a": 1}, {"b": {"$in": [1]}}]}, {}, "{a: 1, b: 1}"),
        ({"metadata.user_id": 1}, {}, '{"metadata.user_id": 1}'),
        ({"$where": "x"}, {}, None),
        ({}, {}, None),
        ({"$or": [{"a": 1}]}, {}, None),
        ({}, {"score": {"$meta": "textScore"}}, None),
    ],
)
def test_an_index_has_what_is_equal_then_the_order_then_ranges(
    asked: dict[str, Any], sort: dict[str, Any], keys: str | None
) -> None:
    assert index_for(asked, sort) == keys


def test_what_waits_on_purpose_is_no_slow_query() -> None:
    waiting = {"op": "getmore", "ns": "x.courses", "command": {"getMore": 1}, "millis": 1_500}
    followed = {"aggregate": "courses", "pipeline": [{"$changeStream": {}}]}
    assert profiled({**waiting, "originatingCommand": followed}) is None
    assert profiled({**waiting, "ns": "x.system.profile"}) is None
    assert profiled({**waiting, "originatingCommand": {"find": "courses", "filter": {"a": 1}}}) is not None


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(days=7), "7 days"),
        (timedelta(days=1), "24 hours"),
        (timedelta(minutes=90), "90 minutes"),
        (timedelta(seconds=1), "1 second"),
        (timedelta(seconds=1.5), "1.5 seconds"),
    ],
)
def test_a_span_is_told_in_the_largest_unit_of_which_there_are_two(span: timedelta, words: str) -> None:
    assert in_words(span) == words
