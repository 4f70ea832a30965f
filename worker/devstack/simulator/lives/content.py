"""The life of what a course is made of: content of lessons, blocks, relationships, and the workflow of its review."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from bson import ObjectId

from worker.devstack.simulator.ledger import ABSENT, Course, ExpectedDocument
from worker.devstack.simulator.lives.courses import LESSON_TYPES
from worker.devstack.simulator.lives.writer import EventRef, EventWriter, Life
from worker.devstack.simulator.planner import object_id
from worker.storage.database import Document

WORDS_PER_MINUTE = 238  # docs/content.md has the source, and that of the index by which a text is easy or not
STAGES = ("draft", "content_review", "technical_review")
SENTENCES = (
    ("Begin", "with", "the", "smallest", "part"),
    ("Look", "at", "what", "others", "have", "done"),
    ("Write", "down", "what", "you", "expect"),
    ("Then", "compare", "it", "with", "what", "you", "see"),
)
_SENTENCES_OF_AN_ARTICLE = 30
_WRITTEN_WITHIN = timedelta(days=4)  # several times what all of its events take


@dataclass(frozen=True, slots=True)
class ContentPlan:
    """A course that is to be made of something, and reviewed at that moment; `modules` are its lessons by module."""

    course: Course
    modules: Mapping[str, Sequence[str]]
    reviewed_at: datetime
    after_term: bool = False


def content_life(plan: ContentPlan, random: Random) -> Life:
    """The events of all that a course is made of, and their documents."""
    begins_at = plan.reviewed_at - _WRITTEN_WITHIN
    content = _Content(plan, EventWriter(random, "authoring", begins_at, after_term=plan.after_term))
    for place, lesson_id in enumerate(plan.course.lessons):
        content.write_lesson(lesson_id, place)
    blocks = [content.write_block(number) for number in range(2)]
    content.relate(blocks)
    content.writer.wait_until(plan.reviewed_at)
    content.review()
    return Life(content.writer.events, content.documents)


class _Content:
    """The parts of one course while they are written."""

    def __init__(self, plan: ContentPlan, writer: EventWriter) -> None:
        self.plan, self.writer = plan, writer
        self.documents: list[ExpectedDocument] = []
        self._course = plan.course

    def new_id(self) -> str:
        return object_id(self.writer.random)

    def expect(self, collection: str, key: str, fields: Document) -> None:
        document = ExpectedDocument(collection, ObjectId(key), fields, after_term=self.plan.after_term)
        self.documents.append(document)

    def write_lesson(self, lesson_id: str, place: int) -> None:
        """Write content, of each kind in turn. Every third is revised; of the first lesson a draft is deleted."""
        kind, key = LESSON_TYPES[place % len(LESSON_TYPES)], self.new_id()
        written = _written_content(kind, place)
        ids = {"content_id": key}
        details: Document = {"type": kind, "title": f"Lesson {place + 1}", "content": written}
        metadata: Document = {"estimated_completion_time": 10 + place, "max_attempts": -1}
        first = last = self.writer.write(
            "lesson_content_created", {**ids, "lesson_id": lesson_id}, {**details, "metadata": metadata}
        )
        description: str | None = None
        if place % 3 == 0:
            description = "Revised after the first readers."
            changes = {"type": kind, "description": description, "metadata": {"max_attempts": 3}}
            last = self.writer.write("lesson_content_changed", ids, changes)
            metadata = {**metadata, "max_attempts": 3}
        shown = {**written, "reading_time": _minutes(_word_count(_SENTENCES_OF_AN_ARTICLE + place))}
        fields = {
            **details,
            "lesson_id": ObjectId(lesson_id),
            "content": shown if kind == "article" else written,
            "description": description,
            "metadata": metadata,
        }
        self.expect("lesson_content", key, {**fields, **_dates(first, last)})
        if place == 0:
            self._write_draft(lesson_id)

    def _write_draft(self, lesson_id: str) -> None:
        """A content item that is deleted again: what it was stays to be read."""
        key = self.new_id()
        content = {"markdown_content": "Too long."}
        details: Document = {"type": "article", "title": "A draft", "content": content}
        first = self.writer.write(
            "lesson_content_created", {"content_id": key, "lesson_id": lesson_id}, details
        )
        last = self.writer.write("lesson_content_deleted", {"content_id": key})
        fields = {
            **details,
            "lesson_id": ObjectId(lesson_id),
            "content": {**content, "reading_time": 1},
            "description": None,
            "metadata": None,
        }
        self.expect("lesson_content", key, {**fields, **_dates(first, last, deleted=last)})

    def write_block(self, number: int) -> str:
        """Write a text, and a longer one in its place; the second block of every second course is deleted."""
        key = self.new_id()
        ids = {"block_id": key}
        turn = self._course.number + number
        sentences = 40 + 7 * turn
        first = self.writer.write(
            "content_block_created",
            ids,
            {
                "type": "rich_text",
                "version": "1.0",
                "config": {"editor_type": "markdown", "features": {"math_equations": True}},
                "content": {"markdown": _text(2 + turn)},
                "assessment": {"learning_objectives": ["know where to begin"]},
            },
        )
        longer = _text(sentences)
        changed = {"version": "1.1", "content": {"markdown": longer}, "config": {"features": {"plots": True}}}
        last = self.writer.write("content_block_changed", ids, changed)
        deleted = None
        if number == 1 and self._course.number % 2 == 1:
            deleted = last = self.writer.write("content_block_deleted", ids)
        features = {"math_equations": True, "plots": True}
        fields = {
            "type": "rich_text",
            "block_version": "1.1",
            "config": {"editor_type": "markdown", "features": features},
            "content": {"markdown": longer, "metadata": _measures(sentences)},
            "interactive_elements": None,
            "media_assets": None,
            "assessment": {"learning_objectives": ["know where to begin"]},
        }
        self.expect("content_blocks", key, {**fields, **_dates(first, last, deleted=deleted)})
        return key

    def relate(self, blocks: Sequence[str]) -> None:
        """Put modules below the course, lessons below modules, blocks below a lesson. Not all of it stays."""
        course_id, lessons = self._course.course_id, self._course.lessons
        for place, (module, inner) in enumerate(self.plan.modules.items(), start=1):
            self._relate(course_id, module, "contains", place)
            for number, lesson in enumerate(inner, start=1):
                self._relate(module, lesson, "contains", number)
        for number, block in enumerate(blocks, start=1):
            self._relate(lessons[0], block, "contains", number, moved=number == 1, undone=number == 2)
        if len(lessons) > 1 and self._course.number % 4 == 0:
            self._relate(lessons[1], lessons[0], "requires", None)
            self._relate(lessons[0], lessons[1], "requires", None, closes_cycle=True)

    def _relate(
        self,
        parent: str,
        child: str,
        kind: str,
        order: int | None,
        *,
        moved: bool = False,
        undone: bool = False,
        closes_cycle: bool = False,
    ) -> None:
        key = self.new_id()
        ids = {"relationship_id": key}
        details: Document = {"parent_id": parent, "child_id": child, "relationship_type": kind}
        if order is not None:
            details["order"] = order
        first = last = self.writer.write("content_related", ids, details)
        if moved:
            order = 9
            last = self.writer.write("content_relationship_changed", ids, {"order": order})
        deleted = None
        if undone:
            deleted = last = self.writer.write("content_unrelated", ids)
        decided: Document = {
            "effective": not closes_cycle,
            "reason": "closes_cycle" if closes_cycle else None,
        }
        fields = {
            "parent_id": ObjectId(parent),
            "child_id": ObjectId(child),
            "relationship_type": kind,
            "order": order,
            "display_rules": None,
            "adaptive_params": None,
            "since": first.claim(),
            **(dict.fromkeys(decided, ABSENT) if undone else decided),
        }
        self.expect("content_relationships", key, {**fields, **_dates(first, last, deleted=deleted)})

    def review(self) -> None:
        """The course is sent back once, then found good. Of a step that comes too early nothing follows."""
        key, editor = self.new_id(), self._course.instructor_id
        review = _Review(self.writer, {"workflow_id": key})
        start = review.step(
            "workflow_started",
            content_id=self._course.course_id,
            workflow_type="course_publication",
            stages=[{"name": name, "assigned_to": editor} for name in STAGES],
            metadata={"priority": "high", "tags": ["new_course"], "stakeholders": [editor]},
        )
        review.stage("started", "draft")
        too_early = review.stage("completed", "technical_review")
        review.stage("completed", "draft")
        review.stage("started", "content_review")
        comment = review.step(
            "workflow_commented", stage="content_review", comment="Say more of the end.", author=editor
        )
        review.stage("rejected", "content_review", return_to="draft")
        moments: dict[str, Document] = {}
        for name in STAGES:
            begun, done = review.stage("started", name), review.stage("completed", name)
            moments[name] = {"started_at": begun.at, "completed_at": done.at}
        comments = {
            "content_review": [
                {"comment": "Say more of the end.", "author": ObjectId(editor), "created_at": comment.at}
            ]
        }
        stages = [
            {
                "name": name,
                "status": "completed",
                "assigned_to": ObjectId(editor),
                **moments[name],
                "comments": comments.get(name, []),
            }
            for name in STAGES
        ]
        self.expect(
            "content_workflow",
            key,
            {
                "content_id": ObjectId(self._course.course_id),
                "workflow_type": "course_publication",
                "status": "completed",
                "stages": stages,
                "current_stage": None,
                "metadata": {
                    "priority": "high",
                    "tags": ["new_course"],
                    "stakeholders": [ObjectId(editor)],
                },
                "without_effect": too_early.without_effect("not_in_progress"),
                "created_at": start.at,
                "updated_at": self.writer.at,
            },
        )


@dataclass(frozen=True, slots=True)
class _Review:
    """One workflow, some hours from step to step."""

    writer: EventWriter
    ids: Mapping[str, str]

    def step(self, event_type: str, **details: Any) -> EventRef:
        self.writer.wait(hours=3)
        return self.writer.write(event_type, self.ids, details)

    def stage(self, what: str, name: str, **more: Any) -> EventRef:
        return self.step(f"workflow_stage_{what}", stage=name, **more)


def _dates(first: EventRef, last: EventRef, deleted: EventRef | None = None) -> Document:
    return {
        "created_at": first.at,
        "updated_at": last.at,
        "deleted_at": None if deleted is None else deleted.at,
    }


def _written_content(kind: str, place: int) -> Document:
    """What the author of a lesson of this kind writes."""
    content: Mapping[str, Document] = {
        "video": {
            "video_url": f"https://video.example.org/{place}.mp4",
            "duration": 600 + place,
            "chapters": [{"title": "How to begin", "start_time": 0}],
        },
        "article": {"markdown_content": _text(_SENTENCES_OF_AN_ARTICLE + place)},
        "quiz": {
            "questions": [{"question": "What comes first?", "type": "single_choice", "points": 2}],
            "time_limit": 900,
            "passing_score": 70,
        },
        "interactive": {
            "editor_type": "code",
            "programming_language": "python",
            "initial_code": "print()",
            "hints": ["Look at the brackets."],
        },
        "assignment": {
            "instructions": "Describe a thing you know.",
            "submission_types": ["file"],
            "max_points": 100,
        },
    }
    return content[kind]


def _sentences(count: int) -> Sequence[Sequence[str]]:
    return [SENTENCES[number % len(SENTENCES)] for number in range(count)]


def _text(count: int) -> str:
    """So many sentences, in one paragraph."""
    return " ".join(f"{' '.join(words)}." for words in _sentences(count))


def _word_count(sentences: int) -> int:
    return sum(map(len, _sentences(sentences)))


def _measures(count: int) -> Document:
    """Of a text of so many sentences: all its sentences are short, and its words, too."""
    words = _word_count(count)
    characters = sum(len(word) for sentence in _sentences(count) for word in sentence)
    index = 4.71 * characters / words + 0.5 * words / count - 21.43
    level = "beginner" if index <= 8 else "intermediate" if index <= 12 else "advanced"
    return {"word_count": words, "reading_time": _minutes(words), "complexity_level": level}


def _minutes(words: int) -> int:
    """Rounded up."""
    return -(-words // WORDS_PER_MINUTE)
