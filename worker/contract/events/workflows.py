"""How content becomes ready to be published: workflows and their stages, one class per event type."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from worker.contract.data_class import IDENTIFIER, INTERNAL, PERSONAL
from worker.contract.family import Family, Inlet
from worker.contract.fields import Id, Key, Maybe, Name, Note, Time
from worker.contract.models import ClosedDetails, Details, Envelope, by_type

MOST_STAGES = 50
_Several = Field(max_length=1_000)


class WorkflowEvent(Envelope):
    """Something that happened in a workflow."""

    workflow_id: Id
    details: Maybe[ClosedDetails] = None


class Stage(ClosedDetails):
    """One stage; its name is its own within the workflow."""

    name: Key
    assigned_to: Maybe[Id] = None
    due_date: Maybe[Time] = None


class WorkflowMetadata(Details):
    """What a workflow says about itself."""

    priority: Maybe[Name] = None
    estimated_completion: Maybe[Time] = None
    stakeholders: Maybe[Annotated[list[Id], _Several]] = None
    tags: Maybe[Annotated[list[Name], _Several]] = None


class WorkflowStartDetails(ClosedDetails):
    """`stages` in their order."""

    content_id: Id
    workflow_type: Key
    stages: Annotated[list[Stage], Field(min_length=1, max_length=MOST_STAGES)]
    metadata: Maybe[WorkflowMetadata] = None

    @model_validator(mode="after")
    def _stages_have_names_of_their_own(self) -> Self:
        if len({each.name for each in self.stages}) < len(self.stages):
            raise PydanticCustomError("stage_names", "stages must have names of their own")
        return self


class StageDetails(ClosedDetails):
    """A stage by its name."""

    stage: Key


class StageRejectionDetails(StageDetails):
    """`return_to`: the earlier stage that is to be gone through again; left out, the stage itself."""

    return_to: Maybe[Key] = None


class StageAssignmentDetails(StageDetails):
    """What is left out stays; null takes it away."""

    assigned_to: Id | None = None
    due_date: Time | None = None


class StageCommentDetails(StageDetails):
    """`comment` is personal: it is stored apart from the rest."""

    comment: Note
    author: Id


class WorkflowStarted(WorkflowEvent):
    """The workflow exists, and all of its stages are to come."""

    event_type: Literal["workflow_started"]
    details: WorkflowStartDetails


class WorkflowStageStarted(WorkflowEvent):
    """Work on a stage began; all stages before it must be completed."""

    event_type: Literal["workflow_stage_started"]
    details: StageDetails


class WorkflowStageCompleted(WorkflowEvent):
    """A stage that was in progress is done."""

    event_type: Literal["workflow_stage_completed"]
    details: StageDetails


class WorkflowStageRejected(WorkflowEvent):
    """A stage that was in progress did not pass."""

    event_type: Literal["workflow_stage_rejected"]
    details: StageRejectionDetails


class WorkflowStageAssigned(WorkflowEvent):
    """A stage that is not completed is somebody else's, or is due at another time."""

    event_type: Literal["workflow_stage_assigned"]
    details: StageAssignmentDetails


class WorkflowCommented(WorkflowEvent):
    """Somebody said something about a stage."""

    event_type: Literal["workflow_commented"]
    details: StageCommentDetails


class WorkflowCancelled(WorkflowEvent):
    """The workflow ended without being completed."""

    event_type: Literal["workflow_cancelled"]


WORKFLOWS = Family(
    "workflows",
    Inlet.CONTENT,
    ("workflow",),
    by_type(
        WorkflowStarted,
        WorkflowStageStarted,
        WorkflowStageCompleted,
        WorkflowStageRejected,
        WorkflowStageAssigned,
        WorkflowCommented,
        WorkflowCancelled,
    ),
    classes={
        "event_type": INTERNAL,
        "occurred_at": INTERNAL,
        "workflow_id": IDENTIFIER,
        "details.workflow_type": INTERNAL,
        "details.stages": INTERNAL,
        "details.metadata": INTERNAL,
        "details.stage": INTERNAL,
        "details.return_to": INTERNAL,
        "details.due_date": INTERNAL,
        "details.content_id": IDENTIFIER,
        "details.stages.assigned_to": IDENTIFIER,
        "details.assigned_to": IDENTIFIER,
        "details.metadata.stakeholders": IDENTIFIER,
        "details.author": IDENTIFIER,
        "workflow_commented/details.comment": PERSONAL,
    },
    examples={
        "workflow_started": {
            "workflow_id": "65a4f0c2e13b7a0001f10001",
            "details": {
                "content_id": "65a4f0c2e13b7a0001c0a001",
                "workflow_type": "course_publication",
                "stages": [
                    {"name": "draft", "assigned_to": "65a4f0c2e13b7a0001c0ffee"},
                    {"name": "content_review", "assigned_to": "65a4f0c2e13b7a0001c0ffee"},
                    {
                        "name": "technical_review",
                        "assigned_to": "65a4f0c2e13b7a0001c0ffee",
                        "due_date": "2024-01-22T00:00:00.000Z",
                    },
                ],
                "metadata": {
                    "priority": "high",
                    "estimated_completion": "2024-01-25T00:00:00.000Z",
                    "stakeholders": ["65a4f0c2e13b7a0001c0ffee"],
                    "tags": ["new_course", "javascript", "bootcamp"],
                },
            },
        },
        **{
            f"workflow_stage_{step}": {
                "workflow_id": "65a4f0c2e13b7a0001f10001",
                "details": {"stage": "draft"},
            }
            for step in ("started", "completed")
        },
        "workflow_stage_rejected": {
            "workflow_id": "65a4f0c2e13b7a0001f10001",
            "details": {"stage": "content_review", "return_to": "draft"},
        },
        "workflow_stage_assigned": {
            "workflow_id": "65a4f0c2e13b7a0001f10001",
            "details": {"stage": "content_review", "assigned_to": "65a4f0c2e13b7a0001c0ffee"},
        },
        "workflow_commented": {
            "workflow_id": "65a4f0c2e13b7a0001f10001",
            "details": {
                "stage": "content_review",
                "comment": "Great content, minor grammar fixes needed",
                "author": "65a4f0c2e13b7a0001c0ffee",
            },
        },
        "workflow_cancelled": {"workflow_id": "65a4f0c2e13b7a0001f10001"},
    },
    unsaid=("two stages of one name in a workflow",),
)
