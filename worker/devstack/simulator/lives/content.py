"""What a course is made of: content of lessons, blocks, relationships, and the workflow by which it becomes ready."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Final

from bson import ObjectId

from worker.devstack.simulator.ledger import ABSENT, Course, ExpectedDocument
from worker.devstack.simulator.lives.courses import KINDS
from worker.devstack.simulator.lives.writer import PlatformEvent, Said, Writer, refused
from worker.devstack.simulator.planner import object_id

WORDS_PER_MINUTE = 238
STAGES = ("draft", "content_review", "technical_review")
SENTENCES = (
    ("Begin", "with", "the", "smallest", "part"),
    ("Look", "at", "what", "others", "have", "done"),
    ("Write", "down", "what", "you", "expect"),
    ("Then", "compare", "it", "with", "what", "you", "see"),
)

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ContentPlan:
    """Of which course, when it is written and when it is reviewed; `modules` are its lessons by module."""

    course: Course
    modules: Mapping[str, Sequence[str]]
    begins_at: datetime
    reviewed_at: datetime
    afterwards: bool = False


Life = tuple[Sequence[PlatformEvent], Sequence[ExpectedDocument]]


def live_content(plan: ContentPlan, random: Random) -> Life:
    """The events of all that a course is made of, and their documents."""
    content = _Content(plan, Writer(random, "authoring", plan.begins_at, afterwards=plan.afterwards))
    for place, lesson_id in enumerate(plan.course.lessons):
        content.write_lesson(lesson_id, place)
    blocks = [content.write_block(number) for number in range(2)]
    content.relate(blocks)
    content.writer.wait_until(plan.reviewed_at)
    content.review()
    return content.writer.events, content.documents


class _Content:
    """The parts of one course while they are written."""

    def __init__(self, plan: ContentPlan, writer: Writer) -> None:
        self.plan, self.writer = plan, writer
        self.documents: list[ExpectedDocument] = []
        self._course = plan.course

    def new_id(self) -> str:
        return object_id(self.writer.random)

    def expect(self, collection: str, key: str, fields: Document) -> None:
        document = ExpectedDocument(collection, ObjectId(key), fields, afterwards=self.plan.afterwards)
        self.documents.append(document)

    def write_lesson(self, lesson_id: str, place: int) -> None:
        """Content of each kind in turn. Every third is revised; of the first lesson another draft is deleted."""
        kind, key = KINDS[place % len(KINDS)], self.new_id()
        written, shown = _content(kind, place)
        ids = {"content_id": key}
        said: Document = {"type": kind, "title": f"Lesson {place + 1}", "content": written}
        metadata: Document = {"estimated_completion_time": 10 + place, "max_attempts": -1}
        first = last = self.writer.say(
            "lesson_content_created", {**ids, "lesson_id": lesson_id}, {**said, "metadata": metadata}
        )
        description: str | None = None
        if place % 3 == 0:
            description = "Revised after the first readers."
            changes = {"type": kind, "description": description, "metadata": {"max_attempts": 3}}
            last = self.writer.say("lesson_content_changed", ids, changes)
            metadata = {**metadata, "max_attempts": 3}
        fields = {**said, "content": shown, "description": description, "metadata": metadata}
        self.expect("lesson_content", key, {"lesson_id": ObjectId(lesson_id), **fields, **_life(first, last)})
        if place == 0:
            self._write_in_vain(lesson_id)

    def _write_in_vain(self, lesson_id: str) -> None:
        """A content item that is deleted again: what it was stays to be read."""
        key = self.new_id()
        said: Document = {"type": "article", "title": "A draft", "content": {"markdown_content": "Too long."}}
        first = self.writer.say("lesson_content_created", {"content_id": key, "lesson_id": lesson_id}, said)
        last = self.writer.say("lesson_content_deleted", {"content_id": key})
        shown = {**said, "content": {**said["content"], "reading_time": 1}}
        fields = {"lesson_id": ObjectId(lesson_id), **shown, "description": None, "metadata": None}
        self.expect("lesson_content", key, {**fields, **_life(first, last, deleted=last)})

    def write_block(self, number: int) -> str:
        """A text, which its author enlarges once; the second one of every second course is deleted."""
        key = self.new_id()
        ids = {"block_id": key}
        turn = self._course.number + number
        first = self.writer.say(
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
        longer = _text(40 + 7 * turn)
        changed = {"version": "1.1", "content": {"markdown": longer}, "config": {"features": {"plots": True}}}
        last = self.writer.say("content_block_changed", ids, changed)
        deleted = None
        if number == 1 and self._course.number % 2 == 1:
            deleted = last = self.writer.say("content_block_deleted", ids)
        features = {"math_equations": True, "plots": True}
        fields = {
            "type": "rich_text",
            "block_version": "1.1",
            "config": {"editor_type": "markdown", "features": features},
            "content": {"markdown": longer, "metadata": _measures(40 + 7 * turn)},
            "interactive_elements": None,
            "media_assets": None,
            "assessment": {"learning_objectives": ["know where to begin"]},
        }
        self.expect("content_blocks", key, {**fields, **_life(first, last, deleted=deleted)})
        return key

    def relate(self, blocks: Sequence[str]) -> None:
        """Modules below the course, lessons below modules, blocks below a lesson. Not all of it stays, or stands."""
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
        said: Document = {"parent_id": parent, "child_id": child, "relationship_type": kind}
        if order is not None:
            said["order"] = order
        first = last = self.writer.say("content_related", ids, said)
        if moved:
            order = 9
            last = self.writer.say("content_relationship_changed", ids, {"order": order})
        deleted = None
        if undone:
            deleted = last = self.writer.say("content_unrelated", ids)
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
            "since": first.moment(),
            **(dict.fromkeys(decided, ABSENT) if undone else decided),
        }
        self.expect("content_relationships", key, {**fields, **_life(first, last, deleted=deleted)})

    def review(self) -> None:
        """Drafted, sent back once, drafted again, and found good; one step comes too early, and does nothing."""
        key, editor = self.new_id(), self._course.instructor_id
        review = _Review(self.writer, {"workflow_id": key}, editor)
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
                "without_effect": refused(too_early, "workflow_stage_completed", "not_in_progress"),
                "created_at": start.at,
                "updated_at": self.writer.at,
            },
        )


@dataclass(frozen=True, slots=True)
class _Review:
    """One workflow, some hours from step to step."""

    writer: Writer
    ids: Mapping[str, str]
    editor: str

    def step(self, event_type: str, **details: Any) -> Said:
        self.writer.wait(hours=3)
        return self.writer.say(event_type, self.ids, details)

    def stage(self, what: str, name: str, **more: Any) -> Said:
        return self.step(f"workflow_stage_{what}", stage=name, **more)


def _life(first: Said, last: Said, deleted: Said | None = None) -> Document:
    return {
        "created_at": first.at,
        "updated_at": last.at,
        "deleted_at": None if deleted is None else deleted.at,
    }


def _content(kind: str, place: int) -> tuple[Document, Document]:
    """What is written, and what is shown of it: an article besides how long it takes to read."""
    written: Final[Mapping[str, Document]] = {
        "video": {
            "video_url": f"https://video.example.org/{place}.mp4",
            "duration": 600 + place,
            "chapters": [{"title": "How to begin", "start_time": 0}],
        },
        "article": {"markdown_content": _text(30 + place)},
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
    shown = dict(written[kind])
    if kind == "article":
        shown["reading_time"] = _minutes(sum(map(len, _sentences(30 + place))))
    return written[kind], shown


def _sentences(count: int) -> Sequence[Sequence[str]]:
    return [SENTENCES[number % len(SENTENCES)] for number in range(count)]


def _text(count: int) -> str:
    """So many sentences, in one paragraph."""
    return " ".join(f"{' '.join(words)}." for words in _sentences(count))


def _measures(count: int) -> Document:
    """Of a text of so many sentences: all its sentences are short, and its words, too."""
    words = [word for sentence in _sentences(count) for word in sentence]
    index = 4.71 * sum(map(len, words)) / len(words) + 0.5 * len(words) / count - 21.43
    level = "beginner" if index <= 8 else "intermediate" if index <= 12 else "advanced"
    return {
        "word_count": len(words),
        "reading_time": _minutes(len(words)),
        "complexity_level": level,
    }


def _minutes(words: int) -> int:
    return -(-words // WORDS_PER_MINUTE)
