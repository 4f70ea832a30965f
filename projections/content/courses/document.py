"""The stored shape of one course document, as far as the worker makes it; `stats` and what else stands there is not.

What events carry as it is written has no shape here: the contract has checked it.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field

from projections.without_effect import WithoutEffect

Count = Annotated[int, Field(ge=0)]
Status = Literal["draft", "review", "published", "archived"]


def _absent() -> Any:
    """Default of a field that need not be there."""
    return None


class _Shape(BaseModel):
    """Of the fold alone: exactly these fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


class _Beside(BaseModel):
    """Others may have fields beside these."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, arbitrary_types_allowed=True)


class ChangelogEntry(_Beside):
    """What a version brought to learners; those of an adopted course are as they were."""

    version: str
    date: datetime
    changes: list[str]
    author: ObjectId | None


class Publication(_Shape):
    """Where the course stands in its life; `version` is the one that learners have."""

    status: Status
    published_at: datetime | None
    version: str | None
    last_updated: datetime | None
    next_update_scheduled: datetime | None
    changelog: list[ChangelogEntry]


class Presentation(_Beside):
    """How the course presents its instructor; `social_proof` beside it is a sum over all of them."""

    user_id: ObjectId
    bio: str | None
    credentials: list[str] | None


class Claim(_Shape):
    """What the course would like to have alone, since when, and by which event."""

    value: str
    at: datetime
    event_id: UUID


class Claims(_Shape):
    """The slug: who has it stands in `slug`, which is not the fold's."""

    slug: Claim = Field(default_factory=_absent)


class CourseDocument(BaseModel):
    """One course. `stats`, `slug`, `instructor.social_proof` and what is not named here are written by others."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, arbitrary_types_allowed=True)

    id: ObjectId = Field(alias="_id")
    rev: int
    stream_id: str
    slot: Annotated[int, Field(ge=0, le=255)]
    version: Count
    projection_version: int
    recorded_at: datetime
    state: dict[str, Any]

    title: Annotated[str, Field(min_length=3, max_length=200)]
    subtitle: str | None
    description: dict[str, Any] | None
    metadata: dict[str, Any] | None
    pricing: dict[str, Any] | None
    media: dict[str, Any] | None
    curriculum: list[dict[str, Any]]
    learning: dict[str, Any] | None
    seo: dict[str, Any] | None
    location: dict[str, Any] | None
    instructor_id: ObjectId
    instructor: Presentation
    status: Status
    publication: Publication
    claims: Claims
    without_effect: WithoutEffect | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


_PARTS = {"instructor": tuple(f"instructor.{name}" for name in Presentation.model_fields)}

FOLDED_PATHS: tuple[str, ...] = tuple(
    path
    for name in CourseDocument.model_fields
    if name not in ("id", "rev")
    for path in _PARTS.get(name, (name,))
)
"""The paths the fold owns and a writer sets; `_id` and `rev` are the writer's own."""
