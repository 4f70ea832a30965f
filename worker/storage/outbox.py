"""The rows of `notifications`, the outbox: what a milestone becomes, under a key that there is only once."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from bson import ObjectId

from worker.storage.driver import Document

LATE = "the milestone was too old when it was counted (SEVENP_NOTIFY_WITHIN_HOURS)"
"""`last_error` of a row that is suppressed because of its age."""


REMADE = "made again by a rebuild: whether it was ever sent is not known (rebuild notifications --send)"
"""`last_error` of a row that is suppressed because the one that stood in its place was lost, or altered."""


WAITS_FOR_DOCUMENT = "set aside: "
"""How `last_error` begins in a row that waits because a document it needs cannot be read."""


UNSENT: Document = {"status": {"$in": ["pending", "taken"]}}
"""Rows that still have to be sent."""


def is_late(reached_at: datetime, now: datetime, within: timedelta) -> bool:
    """True for a milestone nobody wants to hear of any more: a history is being read, not lived."""
    return now - reached_at > within


def notification_id(kind: str, stream_id: str) -> str:
    """`_id` of the row and the key every receiver gets: one per milestone of a learner in a course."""
    return f"{kind}:{stream_id}"


def notification_row(
    kind: str,
    stream_id: str,
    user_id: ObjectId,
    course_id: ObjectId,
    *,
    by: Literal["live", "retry", "replay"],
    data: Mapping[str, Any],
    now: datetime,
    late: bool = False,
) -> Document:
    """The whole document of a new row; upsert it by `_id` with `$setOnInsert`, so that a repeat changes nothing.

    What a replay reached first, and what is `late`, is `suppressed` and never sent. `data` is sent as it stands:
    `percentage`, and `reached_at`, the milestone's moment. `now`, the server's time, is when the row is made and due.
    """
    return {
        "_id": notification_id(kind, stream_id),
        "kind": kind,
        "stream_id": stream_id,
        "user_id": user_id,
        "course_id": course_id,
        "status": "suppressed" if late or by == "replay" else "pending",
        "created_at": now,
        "due_at": now,
        "attempts": 0,
        "lease_owner": None,
        "lease_until": None,
        "sent_at": None,
        "last_error": LATE if late else None,
        "channel": None,
        "data": dict(data),
    }
