"""What a command is called: the same in every run, and different for different steps."""

from typing import Any

import pytest
from bson import ObjectId

from tests.chaos.shape import is_write, narrowest, shapes


def update(collection: str, query: dict[str, Any], change: Any, **options: Any) -> dict[str, Any]:
    return {"update": collection, "updates": [{"q": query, "u": change, **options}]}


@pytest.mark.parametrize(
    ("name", "command", "shape"),
    [
        (
            "update",
            update("leases", {"_id": "partition:t-1:3"}, {"$inc": {"burns": 1}}),
            "leases/partition/inc.burns",
        ),
        (
            "update",
            update("leases", {"$or": [{"_id": "progress:07", "owner": "me"}]}, [{"$set": {"expires_at": 1}}]),
            "leases/progress/set.expires_at",
        ),
        (
            "update",
            update("leases", {"_id": "member:retry:host:1:ab"}, [{"$set": {"kind": 1}}], upsert=True),
            "leases/member/retry/set.kind/upsert",
        ),
        (
            "findAndModify",
            {"findAndModify": "leases", "query": {"_id": "counts:00"}, "update": [{"$set": {"epoch": 1}}]},
            "leases/counts/set.epoch",
        ),
        (
            "update",
            update("user_progress", {"_id": ObjectId()}, {"$set": {"a": 1, "b": 2}}),
            "user_progress/set",
        ),
        (
            "update",
            update("user_progress_projections", {"_id": 1}, {"rev": 1}),
            "user_progress_projections/replace",
        ),
        ("insert", {"insert": "course_events", "documents": [{"event_type": "void"}]}, "course_events/void"),
        (
            "insert",
            {"insert": "course_events", "documents": [{"event_type": "void"}, {"event_type": "view"}]},
            "course_events/event",
        ),
        ("insert", {"insert": "dead_letters", "documents": [{}]}, "dead_letters"),
        (
            "insert",
            {
                "insert": "course_events",
                "documents": [
                    {"event_type": "payment_made", "event_data": {"details": {"enrolment_id": "1"}}}
                ],
            },
            "course_events/payment",
        ),
        (
            "update",
            update(
                "courses",
                {"_id": ObjectId(), "rev": 3},
                {"$set": {"title": "A", "status": "draft", "rev": 4}},
            ),
            "courses/set.fold",
        ),
        (
            "update",
            update("users", {"_id": 1}, {"$set": {"stats.courses_enrolled": 1, "activity_log": []}}),
            "users/set.stats",
        ),
        ("update", update("users", {"_id": 1}, {"$inc": {"stats.sums.held": 1}}), "users/inc.stats"),
        (
            "update",
            update("courses", {"_id": 1}, {"$set": {"instructor.social_proof": {}}}),
            "courses/set.proof",
        ),
        ("update", update("users", {"_id": 1}, {"$unset": {"email": ""}}), "users/unset.decision"),
        (
            "update",
            update("content_relationships", {"_id": 1}, {"$set": {"effective": True, "reason": None}}),
            "content_relationships/set.decision",
        ),
        (
            "delete",
            {"delete": "projection_state", "deletes": [{"q": {"_id": {"$gte": "counts:user:", "$lt": "x"}}}]},
            "projection_state/counts/user",
        ),
        ("commitTransaction", {"commitTransaction": 1}, "1"),
        ("commit", {"commit": "offsets"}, "offsets"),
    ],
)
def test_a_command_has_the_shape(name: str, command: dict[str, Any], shape: str) -> None:
    assert narrowest(shapes(name, command)) == [shape]


def test_a_command_that_does_two_things_has_two_shapes() -> None:
    command = update("notifications", {"_id": "a"}, {"$set": {"sent_at": 1}})
    command["updates"] += update("notifications", {"_id": "b"}, {"$set": {"due_at": 1}})["updates"]
    assert narrowest(shapes("update", command)) == ["notifications/set.due_at", "notifications/set.sent_at"]


def test_ids_and_values_do_not_enter_a_shape() -> None:
    one, other = (
        shapes("update", update("leases", {"_id": f"partition:topic-{n}:{n}"}, {"$set": {"session": n}}))
        for n in (1, 2)
    )
    assert one == other


def test_what_is_built_beside_a_collection_has_one_name_whatever_it_is_called() -> None:
    one, other = (shapes("update", update(f"user_progress__shadow{n}", {"_id": n}, {"a": n})) for n in (1, 2))
    assert one == other == shapes("update", update("user_progress__built", {"_id": 3}, {"a": 3}))
    assert shapes("drop", {"drop": "user_progress__shadow7"}) == {"user_progress__built"}


def test_a_long_list_of_fields_is_cut() -> None:
    change = {"$set": {f"field_{n}": n for n in range(20)}}
    [shape] = narrowest(shapes("update", update("analytics_queue", {"_id": 1}, change)))
    assert shape.endswith(".and-12-more")


@pytest.mark.parametrize(
    ("command", "write"), [("find", False), ("hello", False), ("insert", True), ("new", True)]
)
def test_what_is_not_known_to_read_counts_as_a_write(command: str, write: bool) -> None:
    assert is_write(command) is write
