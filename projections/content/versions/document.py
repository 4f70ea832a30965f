"""The stored shapes: `course_versions` has one document for each version, `version_history` one for each course."""

from datetime import datetime
from typing import Annotated, Any, Literal

from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field

from projections.content.versions.history import Status
from projections.without_effect import WithoutEffect

Count = Annotated[int, Field(ge=0)]
Slot = Annotated[int, Field(ge=0, le=255)]


class _Shape(BaseModel):
    """Of the fold alone: exactly these fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


class DetailedChange(_Shape):
    """One change since the version before; `path` as the newer snapshot has it, of what is gone the older one."""

    action: Literal["add", "update", "remove"]
    path: str
    description: str
    author: ObjectId | None
    timestamp: datetime


class Changes(_Shape):
    """What the version changes: in its author's words, and as its snapshot differs from the one before.

    `total` counts all changes, of which the first are named. A version that was live when the course was adopted
    comes without words, and changes nothing.
    """

    type: Literal["major", "minor_update", "patch", "hotfix"] | None
    summary: str | None
    detailed_changes: list[DetailedChange]
    total: Count


class VersionMetadata(_Shape):
    """Who made it, and what it means for learners who have begun."""

    created_by: ObjectId | None
    approved_by: ObjectId | None
    migration_required: bool
    backward_compatible: bool
    breaking_changes: list[str]


class Deployment(_Shape):
    """Where it stands; `rollback_version` is the one that was live before it, or is again."""

    status: Status
    deployed_at: datetime | None
    rollback_version: str | None


class CourseVersion(_Shape):
    """A version of a course, with the course's content as it was then. `event_version`: see `kinds.Parts`."""

    id: ObjectId = Field(alias="_id")
    rev: Annotated[int, Field(ge=1)]
    stream_id: str
    slot: Slot
    event_version: Count
    projection_version: int
    course_id: ObjectId
    version: str
    course_snapshot: dict[str, Any]
    changes: Changes
    metadata: VersionMetadata
    deployment: Deployment
    created_at: datetime


class ListedVersion(_Shape):
    """A version in the history: `current` is the one that learners have, `archived` one that they had."""

    version: str
    created_at: datetime
    status: Literal["current", "archived", "draft", "testing", "rolled_back"]


class HistoryState(_Shape):
    """What the history is folded on from: steps (`history.VersionStep`), and when one of too many was dropped."""

    steps: list[dict[str, Any]]
    dropped_at: Count


class VersionHistory(_Shape):
    """All versions of a course, the newest ones by name; `_id` is the course's."""

    id: ObjectId = Field(alias="_id")
    rev: int
    stream_id: str
    slot: Slot
    version: Count
    projection_version: int
    recorded_at: datetime
    entity_type: Literal["course"]
    entity_id: ObjectId
    versions: list[ListedVersion]
    versions_total: Count
    current_version: str | None
    without_effect: WithoutEffect | None
    state: HistoryState


HISTORY_PATHS: tuple[str, ...] = tuple(
    name for name in VersionHistory.model_fields if name not in ("id", "rev")
)
"""What the fold owns of `version_history`: all of it."""

VERSION_PATHS: tuple[str, ...] = (
    "course_id",
    "version",
    "course_snapshot",
    "changes",
    "metadata",
    "deployment",
    "created_at",
)
"""What is made of a version's document; the executor adds the rest."""
