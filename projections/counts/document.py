"""The stored shape of one `user_progress_projections` document: what of a learner has been counted."""

from datetime import datetime
from typing import Annotated, Any, Literal

from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Number = int | float


def _absent() -> Any:
    """Default of a field that a document may leave out but never holds as null."""
    return None


class _Closed(BaseModel):
    """Written by the worker alone: exactly these fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


class ProjectionState(_Closed):
    """The spec's `current_state`, and the learner's status."""

    progress_percentage: Number
    current_lesson: ObjectId | None
    total_time_spent: Number
    last_activity: datetime | None
    status: Literal["active", "dropped"]


class ProgressProjection(_Closed):
    """`user_progress_projections`: what of a learner has been counted.

    `counted` is a vector of integers, `source_rev` the revision of the record it was taken from, `enrolled_at`
    the date in the activity log; `emitted` names the milestones that have their rows. Counts version 1 named payments
    there, too, and version 2 kept their number in `payments`.
    """

    id: ObjectId = Field(alias="_id")
    stream_id: Text
    user_id: ObjectId
    course_id: ObjectId
    current_state: ProjectionState
    last_event_version: Count
    source_rev: Count
    counts_version: Positive
    counted: dict[str, int]
    enrolled_at: datetime | None
    emitted: list[str]
    payments: Count = Field(default_factory=_absent)
    last_updated: datetime
