"""What happens to content blocks, of which courses are put together: one class per event type."""

from typing import Annotated, Literal

from pydantic import Field

from worker.contract.data_class import IDENTIFIER, INTERNAL, PUBLIC
from worker.contract.family import Family, Inlet
from worker.contract.fields import Count, Id, Key, Maybe, Name, Seconds, Url
from worker.contract.models import ClosedDetails, Details, Envelope, by_type

Text = Annotated[str, Field(max_length=900_000)]
_Several = Field(max_length=1_000)


class BlockEvent(Envelope):
    """Something that happened to a content block."""

    block_id: Id
    details: Maybe[ClosedDetails] = None


class Position(Details):
    """A place in the block's text."""

    line: Count
    column: Count


class BlockFeatures(Details):
    """What the editor offers."""

    syntax_highlighting: bool | None = None
    math_equations: bool | None = None
    interactive_diagrams: bool | None = None


class BlockConfig(Details):
    """How the block is edited: `editor_type` is markdown, wysiwyg or html in the platform's own blocks."""

    editor_type: Name | None = None
    features: BlockFeatures | None = None


class BlockContent(Details):
    """The text, as Markdown, HTML or both. `metadata`, what is computed of it, is the worker's alone."""

    markdown: Text | None = None
    html: Text | None = None


class InteractiveElement(Details):
    """Something to use at a place in the text; `config` is the element's own."""

    type: Name
    position: Maybe[Position] = None
    config: Maybe[Details] = None
    code: Maybe[Text] = None
    quiz_id: Maybe[Id] = None


class Subtitles(Details):
    """Subtitles of a video in one language."""

    language: Name
    url: Url


class MediaAsset(Details):
    """A picture, video or other file; `duration` in seconds."""

    type: Name
    url: Url
    alt: Maybe[Text] = None
    caption: Maybe[Text] = None
    thumbnail: Maybe[Url] = None
    duration: Maybe[Seconds] = None
    subtitles: Maybe[Annotated[list[Subtitles], _Several]] = None
    position: Maybe[Position] = None


class KnowledgeCheck(Details):
    """A question about the block."""

    type: Name
    question: Text
    auto_graded: Maybe[bool] = None


class Assessment(Details):
    """What learners are to know afterwards, and how that is asked."""

    learning_objectives: Annotated[list[Text], _Several] | None = None
    knowledge_checks: Annotated[list[KnowledgeCheck], _Several] | None = None


class NewBlockDetails(ClosedDetails):
    """`version` is the author's own."""

    type: Key
    version: Maybe[Name] = None
    config: Maybe[BlockConfig] = None
    content: Maybe[BlockContent] = None
    interactive_elements: Maybe[Annotated[list[InteractiveElement], _Several]] = None
    media_assets: Maybe[Annotated[list[MediaAsset], _Several]] = None
    assessment: Maybe[Assessment] = None


class ChangedBlockDetails(ClosedDetails):
    """What is left out stays; null removes it. A list takes the place of the former one."""

    type: Maybe[Key] = None
    version: Name | None = None
    config: BlockConfig | None = None
    content: BlockContent | None = None
    interactive_elements: Annotated[list[InteractiveElement], _Several] | None = None
    media_assets: Annotated[list[MediaAsset], _Several] | None = None
    assessment: Assessment | None = None


class ContentBlockCreated(BlockEvent):
    """A block was written, or written anew after it was deleted."""

    event_type: Literal["content_block_created"]
    details: NewBlockDetails


class ContentBlockChanged(BlockEvent):
    """What is named has changed."""

    event_type: Literal["content_block_changed"]
    details: ChangedBlockDetails


class ContentBlockDeleted(BlockEvent):
    """The block is shown no more."""

    event_type: Literal["content_block_deleted"]


BLOCKS = Family(
    "blocks",
    Inlet.CONTENT,
    ("block",),
    by_type(ContentBlockCreated, ContentBlockChanged, ContentBlockDeleted),
    classes={
        "event_type": PUBLIC,
        "occurred_at": PUBLIC,
        "block_id": IDENTIFIER,
        "details.type": PUBLIC,
        "details.version": PUBLIC,
        "details.config": INTERNAL,
        "details.content": PUBLIC,
        "details.interactive_elements": PUBLIC,
        "details.media_assets": PUBLIC,
        "details.assessment": PUBLIC,
        "details.assessment.knowledge_checks": INTERNAL,
    },
    examples={
        "content_block_created": {
            "block_id": "65a4f0c2e13b7a0001b10c01",
            "details": {
                "type": "rich_text",
                "version": "1.0",
                "config": {
                    "editor_type": "markdown",
                    "features": {
                        "syntax_highlighting": True,
                        "math_equations": True,
                        "interactive_diagrams": False,
                    },
                },
                "content": {
                    "markdown": "# Introduction to Algorithms\n\nAlgorithms are step-by-step procedures.",
                    "html": "<h1>Introduction to Algorithms</h1><p>Algorithms are step-by-step procedures.</p>",
                },
                "interactive_elements": [
                    {
                        "type": "quiz_embed",
                        "position": {"line": 25, "column": 0},
                        "quiz_id": "65a4f0c2e13b7a0001c0a002",
                    }
                ],
                "media_assets": [
                    {
                        "type": "image",
                        "url": "https://cdn.example.com/images/algorithm_diagram.svg",
                        "alt": "Binary search algorithm visualization",
                        "position": {"line": 10, "column": 0},
                    }
                ],
                "assessment": {"learning_objectives": ["Understand binary search algorithm"]},
            },
        },
        "content_block_changed": {
            "block_id": "65a4f0c2e13b7a0001b10c01",
            "details": {"version": "1.1", "config": {"features": {"interactive_diagrams": True}}},
        },
        "content_block_deleted": {"block_id": "65a4f0c2e13b7a0001b10c01"},
    },
)
