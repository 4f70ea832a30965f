"""The stored shapes of content: what lessons, blocks, relationships and workflows are kept as.

Shapes that a producer fills take further fields: content is the platform's own, and is kept as it was written.
Numbers are as written, too, whole ones as integers.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field

from projections.content.reading import Level
from projections.without_effect import WithoutEffect

Count = Annotated[int, Field(ge=0)]
Number = int | float


def absent() -> Any:
    """Default of a field that may be left out; where it stands it is not null."""
    return None


class _Shape(BaseModel):
    """What the worker alone fills."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


class _Written(BaseModel):
    """What producers fill: these fields have these types, others may stand beside them."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, arbitrary_types_allowed=True)


class DescribedState(_Shape):
    """What a later fold needs: stamps (`projections.merging`), and `[at, event_id]` of events."""

    stamps: dict[str, Any]
    first: list[Any] | None
    last: list[Any] | None
    made: list[Any] | None
    removed: list[Any] | None


class _Document(BaseModel):
    """A document of one stream, in a collection that is the worker's own."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, arbitrary_types_allowed=True)

    id: ObjectId = Field(alias="_id")
    rev: int
    stream_id: str
    slot: Annotated[int, Field(ge=0, le=255)]
    version: Count
    projection_version: int
    recorded_at: datetime


class _Described(_Document):
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    state: DescribedState


class Chapter(_Written):
    title: str
    start_time: Number


class VideoContent(_Written):
    """Of a video; `duration` in seconds."""

    video_url: str = Field(default_factory=absent)
    duration: Number = Field(default_factory=absent)
    transcript: str = Field(default_factory=absent)
    chapters: list[Chapter] = Field(default_factory=absent)


class Heading(_Written):
    title: str
    anchor: str


class ArticleContent(_Written):
    """Of an article; `reading_time` in minutes."""

    markdown_content: str = Field(default_factory=absent)
    reading_time: Count = Field(default_factory=absent)
    table_of_contents: list[Heading] = Field(default_factory=absent)


class QuizContent(_Written):
    """Of a quiz; `time_limit` in seconds, `passing_score` in percent."""

    questions: list[dict[str, Any]] = Field(default_factory=absent)
    time_limit: Number = Field(default_factory=absent)
    passing_score: Number = Field(default_factory=absent)
    randomize_questions: bool = Field(default_factory=absent)


class TestCase(_Written):
    input: str
    expected_output: str
    description: str = Field(default_factory=absent)


class InteractiveContent(_Written):
    """Of an editor or a simulation."""

    editor_type: str = Field(default_factory=absent)
    programming_language: str = Field(default_factory=absent)
    initial_code: str = Field(default_factory=absent)
    solution_code: str = Field(default_factory=absent)
    test_cases: list[TestCase] = Field(default_factory=absent)
    hints: list[str] = Field(default_factory=absent)
    difficulty: str = Field(default_factory=absent)
    simulation_url: str = Field(default_factory=absent)


class AssignmentContent(_Written):
    """Of an assignment."""

    instructions: str = Field(default_factory=absent)
    submission_types: list[str] = Field(default_factory=absent)
    max_points: Number = Field(default_factory=absent)
    rubric: list[dict[str, Any]] = Field(default_factory=absent)


class SuccessCriteria(_Written):
    code_runs: bool = Field(default_factory=absent)
    tests_pass: bool = Field(default_factory=absent)
    style_check: bool = Field(default_factory=absent)


class LessonMetadata(_Written):
    """`estimated_completion_time` in minutes; -1 attempts: as many as one likes."""

    estimated_completion_time: Number = Field(default_factory=absent)
    max_attempts: int = Field(default_factory=absent)
    success_criteria: SuccessCriteria = Field(default_factory=absent)


class LessonState(DescribedState):
    """`types`: by kind of content `[at, event_id]` of the last event that named it."""

    types: dict[str, list[Any]]


class _Lesson(_Described):
    """A content item of a lesson."""

    lesson_id: ObjectId
    title: str
    description: str | None
    metadata: LessonMetadata | None
    state: LessonState


class VideoLesson(_Lesson):
    """A video."""

    type: Literal["video"]
    content: VideoContent | None


class ArticleLesson(_Lesson):
    """An article."""

    type: Literal["article"]
    content: ArticleContent | None


class QuizLesson(_Lesson):
    """A quiz."""

    type: Literal["quiz"]
    content: QuizContent | None


class InteractiveLesson(_Lesson):
    """Something to try."""

    type: Literal["interactive"]
    content: InteractiveContent | None


class AssignmentLesson(_Lesson):
    """Something to hand in."""

    type: Literal["assignment"]
    content: AssignmentContent | None


LESSON_SHAPES = (
    VideoLesson,
    ArticleLesson,
    QuizLesson,
    InteractiveLesson,
    AssignmentLesson,
)


class Position(_Written):
    line: Count
    column: Count


class BlockFeatures(_Written):
    syntax_highlighting: bool = Field(default_factory=absent)
    math_equations: bool = Field(default_factory=absent)
    interactive_diagrams: bool = Field(default_factory=absent)


class BlockConfig(_Written):
    """How the block is edited."""

    editor_type: str = Field(default_factory=absent)
    features: BlockFeatures = Field(default_factory=absent)


class BlockMeasures(_Shape):
    """What `projections.content.reading` computes: of the Markdown where there is some, else of the HTML."""

    word_count: Count
    reading_time: Count
    complexity_level: Level | None


class BlockContent(_Written):
    """The text, and what is computed of it."""

    markdown: str = Field(default_factory=absent)
    html: str = Field(default_factory=absent)
    metadata: BlockMeasures


class InteractiveElement(_Written):
    type: str
    position: Position = Field(default_factory=absent)
    config: dict[str, Any] = Field(default_factory=absent)
    code: str = Field(default_factory=absent)
    quiz_id: ObjectId = Field(default_factory=absent)


class Subtitles(_Written):
    language: str
    url: str


class MediaAsset(_Written):
    type: str
    url: str
    alt: str = Field(default_factory=absent)
    caption: str = Field(default_factory=absent)
    thumbnail: str = Field(default_factory=absent)
    duration: Number = Field(default_factory=absent)
    subtitles: list[Subtitles] = Field(default_factory=absent)
    position: Position = Field(default_factory=absent)


class KnowledgeCheck(_Written):
    type: str
    question: str
    auto_graded: bool = Field(default_factory=absent)


class Assessment(_Written):
    learning_objectives: list[str] = Field(default_factory=absent)
    knowledge_checks: list[KnowledgeCheck] = Field(default_factory=absent)


class BlockDocument(_Described):
    """A content block."""

    type: str
    block_version: str | None
    config: BlockConfig | None
    content: BlockContent | None
    interactive_elements: list[InteractiveElement] | None
    media_assets: list[MediaAsset] | None
    assessment: Assessment | None


class Condition(_Written):
    type: str
    target_id: ObjectId = Field(default_factory=absent)
    operator: str = Field(default_factory=absent)


class DisplayRules(_Written):
    """When the child is shown."""

    prerequisites: list[ObjectId] = Field(default_factory=absent)
    conditions: list[Condition] = Field(default_factory=absent)


class AdaptiveParams(_Written):
    """How the child adapts to a learner."""

    difficulty_adjustment: bool = Field(default_factory=absent)
    personalization_weight: Number = Field(default_factory=absent)
    skip_if_mastered: bool = Field(default_factory=absent)


class Since(_Shape):
    """The event that made a relationship."""

    at: datetime
    event_id: UUID


class RelationshipDocument(_Described):
    """A relationship; `effective` and `reason` are decided by `content_cycles`, beside all others of its kind."""

    parent_id: ObjectId
    child_id: ObjectId
    relationship_type: str
    order: Count | None
    display_rules: DisplayRules | None
    adaptive_params: AdaptiveParams | None
    since: Since
    effective: bool = Field(default_factory=absent)
    reason: str | None = None


class StageComment(_Shape):
    comment: str
    author: ObjectId
    created_at: datetime


class WorkflowStage(_Shape):
    """A stage as the steps have left it; dates that it does not have are left out."""

    name: str
    status: Literal["pending", "in_progress", "completed", "rejected"]
    assigned_to: ObjectId = Field(default_factory=absent)
    due_date: datetime = Field(default_factory=absent)
    started_at: datetime = Field(default_factory=absent)
    completed_at: datetime = Field(default_factory=absent)
    comments: list[StageComment]


class WorkflowMetadata(_Written):
    priority: str = Field(default_factory=absent)
    estimated_completion: datetime = Field(default_factory=absent)
    stakeholders: list[ObjectId] = Field(default_factory=absent)
    tags: list[str] = Field(default_factory=absent)


class WorkflowState(_Shape):
    """What is kept of steps and comments, in order, of the steps beyond them the latest, and how many these are."""

    start: dict[str, Any] | None
    steps: list[dict[str, Any]]
    over: list[dict[str, Any]]
    steps_over: Count
    comments: list[dict[str, Any]]
    first: list[Any] | None
    last: list[Any] | None


class WorkflowDocument(_Document):
    """A workflow; `current_stage` is null when it has ended."""

    content_id: ObjectId
    workflow_type: str
    status: Literal["in_progress", "completed", "cancelled"]
    stages: list[WorkflowStage]
    current_stage: str | None
    metadata: WorkflowMetadata | None
    without_effect: WithoutEffect | None
    created_at: datetime
    updated_at: datetime
    state: WorkflowState
