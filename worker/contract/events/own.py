"""What the worker itself says of learners: the model of each event type. Only it may write to their topic."""

from base64 import b64decode
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from worker.contract.data_class import PUBLIC
from worker.contract.family import LEARNER, Family, Inlet
from worker.contract.fields import MAX_LESSONS, Id, Maybe
from worker.contract.models import ClosedDetails, Envelope, by_type

LESSON_BYTES = 12
# Twelve bytes are sixteen letters of base64, so that a list never needs filling up.
_LETTERS = 16

LessonList = Annotated[
    str,
    Field(
        min_length=_LETTERS,
        max_length=_LETTERS * MAX_LESSONS,
        pattern=r"^([A-Za-z0-9+/]{16})+$",
        json_schema_extra={"not": {"pattern": r"\n"}},
    ),
]


class OwnEvent(Envelope):
    """Something that the worker says of a learner in a course."""

    user_id: Id
    course_id: Id


class MigrationDetails(ClosedDetails):
    """The lessons that the course has now, in their order: the 12 bytes of each id, in base64."""

    version: Maybe[Annotated[str, Field(max_length=200)]] = None
    total_lessons: Annotated[int, Field(ge=1, le=MAX_LESSONS)]
    lessons: LessonList

    @model_validator(mode="after")
    def _counted(self) -> Self:
        listed = b64decode(self.lessons)
        each = {listed[at : at + LESSON_BYTES] for at in range(0, len(listed), LESSON_BYTES)}
        if not len(each) == len(listed) // LESSON_BYTES == self.total_lessons:
            raise PydanticCustomError("lessons", "must be total_lessons lessons, none of them twice")
        return self


class CurriculumMigrated(OwnEvent):
    """The learner's course has other lessons now."""

    event_type: Literal["curriculum_migrated"]
    details: MigrationDetails


OWN = Family(
    "own",
    Inlet.WORKER,
    LEARNER,
    by_type(CurriculumMigrated),
    classes={
        "event_type": PUBLIC,
        "occurred_at": PUBLIC,
        "details.version": PUBLIC,
        "details.total_lessons": PUBLIC,
        "details.lessons": PUBLIC,
    },
    examples={
        "curriculum_migrated": {
            "user_id": "65a4f0c2e13b7a0001bbbbbb",
            "course_id": "65a4f0c2e13b7a0001aaaaaa",
            "details": {
                "version": "2.1.0",
                "total_lessons": 2,
                "lessons": "ZaTwwuE7egABzMzMZaTwwuE7egABzMzN",
            },
        }
    },
    unsaid=("the lessons of a `curriculum_migrated` are `total_lessons`, and none of them is named twice",),
)
