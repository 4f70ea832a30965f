"""The spec's indexes under the spec's names, and one form in which two indexes can be compared."""

from typing import Any

import pytest
from bson.son import SON

from worker.storage.database import COLLECTIONS
from worker.storage.indexes import INDEXES, described

SPEC = {
    "idx_users_email_unique": "users",
    "idx_users_username_unique": "users",
    "idx_users_login": "users",
    "idx_users_active_display_name": "users",
    "idx_users_text_search": "users",
    "idx_users_phone_sparse": "users",
    "idx_courses_slug_unique": "courses",
    "idx_courses_browse": "courses",
    "location_2dsphere": "courses",
    "idx_courses_tags": "courses",
    "idx_promotions_ttl": "promotions",
    "idx_user_interactions_user_time": "user_interactions",
    "expires_at_1": "cache",
}


def test_all_thirteen_indexes_of_the_spec_are_there() -> None:
    ours = {index.name: index.collection for index in INDEXES}
    assert {name: ours.get(name) for name in SPEC} == SPEC
    assert len(SPEC) == 13


def test_names_are_unique_within_a_collection_and_collections_exist() -> None:
    names = [(index.collection, index.name) for index in INDEXES]
    assert len(set(names)) == len(names)
    assert {index.collection for index in INDEXES} <= set(COLLECTIONS)


def test_retired_options_are_not_sent() -> None:
    assert not any("background" in index.specification() for index in INDEXES)


def test_what_the_server_lists_for_a_text_index_equals_what_was_asked_for() -> None:
    asked = {"key": {"a": 1, "bio": "text"}, "name": "n", "weights": {"bio": 3}}
    listed = {
        "v": 2,
        "key": SON([("a", 1), ("_fts", "text"), ("_ftsx", 1)]),
        "name": "n",
        "weights": SON([("bio", 3)]),
        "default_language": "english",
        "language_override": "language",
        "textIndexVersion": 3,
    }
    assert described(listed) == described(asked)


@pytest.mark.parametrize(
    "other",
    [
        {"key": {"b": 1, "a": 1}},
        {"key": {"a": 1, "b": -1}},
        {"key": {"a": 1}},
        {"key": {"a": 1, "b": 1}, "unique": True},
        {"key": {"a": 1, "b": 1}, "sparse": True},
        {"key": {"a": 1, "b": 1}, "expireAfterSeconds": 0},
        {"key": {"a": 1, "b": 1}, "partialFilterExpression": {"a": {"$gt": ""}}},
    ],
)
def test_indexes_that_mean_something_else_differ(other: dict[str, Any]) -> None:
    assert described(other) != described({"key": {"a": 1, "b": 1}})


def test_names_and_the_kind_of_number_make_no_difference() -> None:
    assert described({"key": {"a": 1.0}, "name": "x", "v": 2}) == described(
        {"key": {"a": 1}, "unique": False}
    )
