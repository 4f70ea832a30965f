"""Items of the queue about rows of outbox and billing that the server refused; their learners are counted."""

import hashlib
from typing import Literal

from bson import ObjectId

from worker.storage.work_items import counts_item_id

RowKind = Literal["welcome", "completion", "payment"]
RowTarget = tuple[RowKind, ObjectId]
"""A milestone of a learner (`_id` of the record), or the payment that one event names (`payment_target`)."""


def payment_target(event_id: bytes) -> RowTarget:
    """The payment of an event, which is refused, and tried again, by itself."""
    return "payment", ObjectId(hashlib.sha1(event_id, usedforsecurity=False).digest()[:12])


def row_item_id(target: RowTarget) -> str:
    """`_id` of the row's item: there is never a second one."""
    return counts_item_id(*target)
