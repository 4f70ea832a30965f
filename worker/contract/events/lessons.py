"""What happens to the content of lessons: the model of each event type; `details.type` says of which kind it is."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from worker.contract.data_class import IDENTIFIER, INTERNAL, PUBLIC
from worker.contract.family import Family, Inlet
from worker.contract.fields import (
    MAX_COUNT,
    Count,
    Id,
    Maybe,
    Name,
    Number,
    Percent,
    Seconds,
    Url,
    whole,
)
from worker.contract.models import ClosedDetails, Details, Envelope, by_type

Text = Annotated[str, Field(max_length=900_000)]
"""As long as a record of these may be."""
_Several = Field(max_length=1_000)
Attempts = Annotated[int, Field(ge=-1, le=MAX_COUNT), BeforeValidator(whole)]
"""-1: as many as one likes."""


class LessonContentEvent(Envelope):
    """Something that happened to a content item; `lesson_id` names the lesson that shows it."""

    content_id: Id
    details: Maybe[ClosedDetails] = None


class Chapter(Details):
    """A part of a video, from `start_time` seconds on."""

    title: Name
    start_time: Seconds


class Heading(Details):
    """An entry of an article's table of contents."""

    title: Name
    anchor: Name


class Question(Details):
    """A question of a quiz; what answers there are is the platform's own."""

    question: Maybe[Text] = None
    type: Maybe[Name] = None
    points: Maybe[Number] = None


class TestCase(Details):
    """What a learner's program must print for an input."""

    input: Text
    expected_output: Text
    description: Maybe[Text] = None


class Criterion(Details):
    """One line of an assignment's rubric."""

    name: Name
    points: Maybe[Number] = None
    description: Maybe[Text] = None


class VideoContent(Details):
    """`duration` in seconds."""

    video_url: Url | None = None
    duration: Seconds | None = None
    transcript: Text | None = None
    chapters: Annotated[list[Chapter], _Several] | None = None


class NewVideo(VideoContent):
    """A video has an address."""

    video_url: Url


class ArticleContent(Details):
    """`reading_time` in minutes; left out, the worker computes it."""

    markdown_content: Text | None = None
    reading_time: Count | None = None
    table_of_contents: Annotated[list[Heading], _Several] | None = None


class NewArticle(ArticleContent):
    """An article has a text."""

    markdown_content: Text


class QuizContent(Details):
    """`time_limit` in seconds, `passing_score` in percent."""

    questions: Annotated[list[Question], _Several] | None = None
    time_limit: Seconds | None = None
    passing_score: Percent | None = None
    randomize_questions: bool | None = None


class NewQuiz(QuizContent):
    """A quiz has questions, or will have: the list may be empty."""

    questions: Annotated[list[Question], _Several]


class InteractiveContent(Details):
    """An editor or simulation in which learners try things."""

    editor_type: Name | None = None
    programming_language: Name | None = None
    initial_code: Text | None = None
    solution_code: Text | None = None
    test_cases: Annotated[list[TestCase], _Several] | None = None
    hints: Annotated[list[Text], _Several] | None = None
    difficulty: Name | None = None
    simulation_url: Url | None = None


class NewInteractive(InteractiveContent):
    """Interactive content says what it is edited in."""

    editor_type: Name


class AssignmentContent(Details):
    """What learners hand in, and how it is graded."""

    instructions: Text | None = None
    submission_types: Annotated[list[Name], _Several] | None = None
    max_points: Number | None = None
    rubric: Annotated[list[Criterion], _Several] | None = None


class NewAssignment(AssignmentContent):
    """An assignment says what is to be done."""

    instructions: Text


class SuccessCriteria(Details):
    """What must be so for the content to be done."""

    code_runs: bool | None = None
    tests_pass: bool | None = None
    style_check: bool | None = None


class LessonMetadata(Details):
    """`estimated_completion_time` in minutes."""

    estimated_completion_time: Number | None = None
    max_attempts: Attempts | None = None
    success_criteria: SuccessCriteria | None = None


class NewContentDetails(ClosedDetails):
    """What all kinds of content begin with."""

    title: Name
    description: Maybe[Text] = None
    metadata: Maybe[LessonMetadata] = None


class ChangedContentDetails(ClosedDetails):
    """What is left out stays; null removes it."""

    title: Maybe[Name] = None
    description: Text | None = None
    metadata: LessonMetadata | None = None


class NewVideoDetails(NewContentDetails):
    """A video."""

    type: Literal["video"]
    content: NewVideo


class NewArticleDetails(NewContentDetails):
    """An article."""

    type: Literal["article"]
    content: NewArticle


class NewQuizDetails(NewContentDetails):
    """A quiz."""

    type: Literal["quiz"]
    content: NewQuiz


class NewInteractiveDetails(NewContentDetails):
    """Something to try."""

    type: Literal["interactive"]
    content: NewInteractive


class NewAssignmentDetails(NewContentDetails):
    """Something to hand in."""

    type: Literal["assignment"]
    content: NewAssignment


class ChangedVideoDetails(ChangedContentDetails):
    """Of a video."""

    type: Literal["video"]
    content: VideoContent | None = None


class ChangedArticleDetails(ChangedContentDetails):
    """Of an article."""

    type: Literal["article"]
    content: ArticleContent | None = None


class ChangedQuizDetails(ChangedContentDetails):
    """Of a quiz."""

    type: Literal["quiz"]
    content: QuizContent | None = None


class ChangedInteractiveDetails(ChangedContentDetails):
    """Of something to try."""

    type: Literal["interactive"]
    content: InteractiveContent | None = None


class ChangedAssignmentDetails(ChangedContentDetails):
    """Of something to hand in."""

    type: Literal["assignment"]
    content: AssignmentContent | None = None


class LessonContentCreated(LessonContentEvent):
    """A content item was written for a lesson, or written anew after it was deleted."""

    event_type: Literal["lesson_content_created"]
    lesson_id: Id
    details: Annotated[
        NewVideoDetails | NewArticleDetails | NewQuizDetails | NewInteractiveDetails | NewAssignmentDetails,
        Field(discriminator="type"),
    ]


class LessonContentChanged(LessonContentEvent):
    """What is named has changed; another `type` makes it content of that kind, without what the former one had."""

    event_type: Literal["lesson_content_changed"]
    details: Annotated[
        ChangedVideoDetails
        | ChangedArticleDetails
        | ChangedQuizDetails
        | ChangedInteractiveDetails
        | ChangedAssignmentDetails,
        Field(discriminator="type"),
    ]


class LessonContentDeleted(LessonContentEvent):
    """The content item is shown no more."""

    event_type: Literal["lesson_content_deleted"]


LESSONS = Family(
    "lessons",
    Inlet.CONTENT,
    ("content",),
    by_type(LessonContentCreated, LessonContentChanged, LessonContentDeleted),
    classes={
        "event_type": PUBLIC,
        "occurred_at": PUBLIC,
        "content_id": IDENTIFIER,
        "details.type": PUBLIC,
        "details.title": PUBLIC,
        "details.description": PUBLIC,
        "details.content": PUBLIC,
        "details.metadata": PUBLIC,
        "details.content.questions": INTERNAL,
        "details.content.solution_code": INTERNAL,
        "details.content.test_cases": INTERNAL,
        "details.content.rubric": INTERNAL,
    },
    examples={
        "lesson_content_created": {
            "content_id": "65a4f0c2e13b7a0001c0a001",
            "lesson_id": "65a4f0c2e13b7a0001bbbbbb",
            "details": {
                "type": "interactive",
                "title": "JavaScript Code Editor",
                "description": "Practice JavaScript coding with our interactive editor",
                "content": {
                    "editor_type": "code",
                    "programming_language": "javascript",
                    "initial_code": "// Write your code here\nconsole.log('Hello, World!');",
                    "solution_code": "console.log('Hello, World!');",
                    "test_cases": [
                        {
                            "input": "",
                            "expected_output": "Hello, World!",
                            "description": "Should output the greeting",
                        }
                    ],
                    "hints": ["Remember to use console.log() to output the result"],
                    "difficulty": "beginner",
                },
                "metadata": {
                    "estimated_completion_time": 15,
                    "max_attempts": -1,
                    "success_criteria": {"code_runs": True, "tests_pass": True, "style_check": False},
                },
            },
        },
        "lesson_content_changed": {
            "content_id": "65a4f0c2e13b7a0001c0a001",
            "details": {"type": "interactive", "content": {"difficulty": "intermediate"}},
        },
        "lesson_content_deleted": {"content_id": "65a4f0c2e13b7a0001c0a001"},
    },
)
