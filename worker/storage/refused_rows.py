"""Items of the queue about rows of the outbox that the server refused; their learners are counted."""

from typing import Literal

from bson import ObjectId

from worker.storage.work_items import counts_item_id

RowKind = Literal["welcome", "completion"]
RowTarget = tuple[RowKind, ObjectId]
"""A milestone of a learner (`_id` of the record)."""


def row_item_id(target: RowTarget) -> str:
    """`_id` of the row's item: there is never a second one."""
    return counts_item_id(*target)
