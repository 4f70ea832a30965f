"""The life of a course: written, reviewed, published, revised, priced, archived; and the documents of it.

Both are written step by step: `_Course.content` is what the course shows by now, as its authors know it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

from bson import ObjectId

from worker.devstack.simulator.ledger import ABSENT, CURRENCY, Course, ExpectedDocument
from worker.devstack.simulator.lives.writer import EventRef, EventWriter, Life
from worker.devstack.simulator.names import slug_of, title_of
from worker.devstack.simulator.planner import object_id
from worker.devstack.simulator.spelling import rfc_3339
from worker.storage.database import Document

LESSON_TYPES = ("video", "article", "quiz", "interactive", "assignment")
"""They take turns."""
TOPICS = ("basics", "practice", "projects")
SKILLS = ("analysis", "design", "writing", "coding")
LEVELS = ("beginner", "intermediate", "advanced")
_REVIEWED_AFTER = timedelta(days=5)  # it is submitted a day before, and published nine days later
FIRST, REVISED, FAILED = "1.0", "1.1", "2.0"
"""The versions of a course: the last one is rolled back."""
PRICE, LOWER_PRICE = "199.00", "149.00"
INSTALMENT, INSTALMENTS = "49.67", 3
"""The lower price in parts: what each of them is, and how many there are."""
_FIELDS: Final = (
    "title",
    "subtitle",
    "description",
    "metadata",
    "pricing",
    "media",
    "curriculum",
    "learning",
)


@dataclass(frozen=True, slots=True)
class SocialProof:
    """What is shown of the instructor in each course."""

    students: int = 0
    courses: int = 0
    rating: float = 0.0

    def document(self) -> Document:
        """As the course's document shows it."""
        return {
            "students_taught": self.students,
            "courses_created": self.courses,
            "average_rating": self.rating,
        }


@dataclass(frozen=True, slots=True)
class CoursePlan:
    """One course; `term` is when learners begin. Without `proof` nothing is expected of the instructor's figures.

    `taken_slug` is another course's: this one asks for it instead of one of its own, and its document has none.
    `draft`: it never gets any further. `after_term`: all of it is published when learners have done all they do.
    """

    course: Course
    term: datetime
    proof: SocialProof | None = None
    taken_slug: str | None = None
    draft: bool = False
    after_term: bool = False

    @property
    def title(self) -> str:
        return title_of(self.course)

    @property
    def own_slug(self) -> str:
        """One that no other course asks for."""
        return slug_of(self.course)

    @property
    def rolls_back(self) -> bool:
        """Of two courses one is revised once too often."""
        return self.course.number % 2 == 0

    @property
    def is_mispriced(self) -> bool:
        """Somebody forgets the amount of a plan."""
        return self.course.number % 4 == 3

    @property
    def is_archived(self) -> bool:
        return self.course.number % 4 == 2


@dataclass(frozen=True, slots=True)
class CourseLife:
    """A course's life, its modules with their lessons, and when it is reviewed.

    `stamps` are what learners' events are stamped with, by lesson; None: those of no lesson.
    """

    life: Life
    modules: Mapping[str, Sequence[str]]
    stamps: Mapping[str | None, Document]
    reviewed_at: datetime


def course_life(plan: CoursePlan, random: Random) -> CourseLife:
    """The events of a course, and its documents.

    1. written  2. reviewed, published  3. revised, and rolled back  4. priced anew, planned, archived: in the term
    """
    begins_at = plan.term - timedelta(days=80 - plan.course.number % 10)
    course = _Course(plan, EventWriter(random, "authoring", begins_at, after_term=plan.after_term))
    course.create()  # 1
    if not plan.draft:
        course.publish()  # 2
        course.revise()  # 3
        course.change_in_term()  # 4
    modules = {module["_id"]: [each["_id"] for each in module["lessons"]] for module in course.modules}
    return CourseLife(
        Life(course.writer.events, [course.expected(), *course.expected_versions()]),
        modules,
        _stamps(course.modules, course.live),
        begins_at + _REVIEWED_AFTER,
    )


@dataclass(slots=True)
class _Version:
    """A version of a course while its life is written; `changes` are actions with their paths."""

    label: str
    kind: str
    summary: str
    created_at: datetime
    snapshot: Document
    changes: list[tuple[str, str]]
    status: str = "draft"
    deployed_at: datetime | None = None
    rollback_version: str | None = None

    def listed(self, live: str | None) -> str:
        """Its status in the history of a course of which that version is live."""
        if self.label == live:
            return "current"
        return "archived" if self.status == "deployed" else self.status


@dataclass(slots=True)
class _Course:
    """A course while its life is written; `live` is the label of the version that is deployed."""

    plan: CoursePlan
    writer: EventWriter
    content: Document = field(default_factory=dict)
    modules: list[Document] = field(default_factory=list)
    versions: dict[str, _Version] = field(default_factory=dict)
    changelog: list[Document] = field(default_factory=list)
    live: str | None = None
    status: str = "draft"
    created: EventRef = field(init=False)
    last: EventRef = field(init=False)
    published_at: datetime | None = None
    last_updated: datetime | None = None
    next_update_at: datetime | None = None
    without_effect: Document | None = None

    @property
    def instructor(self) -> str:
        return self.plan.course.instructor_id

    def write(self, event_type: str, **details: Any) -> EventRef:
        ids = {"course_id": self.plan.course.course_id}
        self.last = self.writer.write(event_type, ids, details or None)
        return self.last

    def create(self) -> None:
        """Write title and price, then texts and pictures, then a curriculum; the last lesson is still to come."""
        plan = self.plan
        pricing = {"type": "paid", "price": {"amount": PRICE, "currency": CURRENCY}}
        metadata: Document = {
            "category": "Skills",
            "tags": plan.title.lower().split(),
            "level": LEVELS[plan.course.number % len(LEVELS)],
            "language": "en",
        }
        slug = plan.taken_slug or plan.own_slug
        self.created = self.write(
            "course_created",
            title=plan.title,
            slug=slug,
            instructor_id=self.instructor,
            metadata=metadata,
            pricing=pricing,
        )
        self.content = {
            "title": plan.title,
            "metadata": metadata,
            "pricing": _shown_price(pricing),
            "instructor_id": ObjectId(self.instructor),
            "slug": slug,
        }
        described: Document = {
            "subtitle": f"{plan.title}, step by step",
            "description": {"short": "What one needs to begin.", "detailed": "And what one needs to go on."},
            "learning": {"objectives": ["know the words"], "prerequisites": ["curiosity"]},
            "instructor": {"bio": "Teaches since long ago.", "credentials": ["a diploma"]},
        }
        self.write("course_described", **described)
        media = {
            "thumbnail": {"url": f"https://cdn.example.org/{slug}.jpg", "alt": plan.title},
            "gallery": [f"https://cdn.example.org/{slug}-1.jpg"],
        }
        self.write("course_media_changed", media=media)
        self.content |= {**described, "media": media}
        if plan.course.number % 4 == 1:  # too early: nothing follows from it
            self.without_effect = self.write("course_published").without_effect("wrong_status")
        self.modules = _modules(self.writer.random, plan.course.lessons)
        if plan.course.lessons:
            self._publish_curriculum(plan.course.lessons[:-1])

    def publish(self) -> None:
        """Submit it, let it be reviewed for some days, and publish it as its first version."""
        self.writer.wait(days=4)
        self.write("course_submitted")
        self.writer.wait(days=10)
        names = [*_FIELDS, "instructor_id", "instructor", "slug"]
        self._create_version(FIRST, "major", "the course as it begins", [("add", each) for each in names])
        self._deploy(FIRST)
        self.published_at = self.last_updated = self.write("course_published").at
        self.status = "published"

    def revise(self) -> None:
        """Add the last lesson. Every second course is revised once more, and goes back to what it was."""
        self.writer.wait(days=5)
        self._publish_curriculum(self.plan.course.lessons)
        self._create_version(REVISED, "minor_update", "one lesson more", [self._lesson_added()])
        self._deploy(REVISED)
        if not self.plan.rolls_back:
            return
        self.writer.wait(days=5)
        subtitle = self.content["subtitle"]
        self._change_subtitle("Everything, at once")
        self._create_version(FAILED, "major", "another promise", [("update", "subtitle")])
        self._deploy(FAILED)
        self.writer.wait(days=1)
        self.last_updated = self.write(
            "course_version_rolled_back", version=FAILED, rollback_version=REVISED
        ).at
        self.live = REVISED
        self.changelog = [each for each in self.changelog if each["version"] != FAILED]
        self.versions[FAILED].status, self.versions[FAILED].rollback_version = "rolled_back", REVISED
        self._change_subtitle(subtitle)

    def change_in_term(self) -> None:
        """Lower the price while learners are at it, then plan the next revision, or archive the course."""
        self.writer.wait_until(self.plan.term + timedelta(days=1, hours=self.plan.course.number))
        pricing: Document = {
            "price": {"amount": LOWER_PRICE, "currency": CURRENCY, "original_price": PRICE},
            "payment_plans": [
                {
                    "type": "installments",
                    "installments": INSTALMENTS,
                    "price_per_installment": INSTALMENT,
                }
            ],
        }
        self.write("course_priced", pricing=pricing)
        self.content["pricing"] = {"type": "paid", **_shown_price(pricing)}
        if self.plan.is_mispriced:  # a course that is paid costs something: the plans are not shown
            nothing = {"payment_plans": [{"type": "one_time", "price": "0.00"}]}
            self.without_effect = self.write("course_priced", pricing=nothing).without_effect(
                "price_unlike_type"
            )
            del self.content["pricing"]["payment_plans"]
        self.writer.wait(days=1)
        if self.plan.is_archived:
            self.write("course_archived")
            self.status = "archived"
            return
        self.next_update_at = self.plan.term + timedelta(days=120)
        planned = rfc_3339(self.next_update_at)
        self.last_updated = self.write("course_published", next_update_scheduled=planned).at

    def _change_subtitle(self, subtitle: str) -> None:
        self.write("course_described", subtitle=subtitle)
        self.content["subtitle"] = subtitle

    def _publish_curriculum(self, lessons: Sequence[str]) -> None:
        known = {*lessons}
        shown = [
            {**module, "lessons": [each for each in module["lessons"] if each["_id"] in known]}
            for module in self.modules
        ]
        self.write("curriculum_published", curriculum=shown)
        self.content["curriculum"] = [_with_object_ids(module) for module in shown]

    def _lesson_added(self) -> tuple[str, str]:
        return "add", f"curriculum.{len(self.modules) - 1}.lessons"

    def _create_version(self, label: str, kind: str, summary: str, changes: list[tuple[str, str]]) -> None:
        created = self.write(
            "course_version_created", version=label, type=kind, summary=summary, created_by=self.instructor
        )
        self.versions[label] = _Version(label, kind, summary, created.at, dict(self.content), changes)
        self.write("course_version_approved", version=label, approved_by=self.instructor)

    def _deploy(self, label: str) -> None:
        at = self.write("course_version_deployed", version=label).at
        version = self.versions[label]
        version.status, version.deployed_at, version.rollback_version = "deployed", at, self.live
        self.live, self.last_updated = label, at
        entry = {"version": label, "date": at, "changes": [version.summary]}
        self.changelog.insert(0, {**entry, "author": ObjectId(self.instructor)})

    def expected(self) -> ExpectedDocument:
        """The course's document."""
        presented = self.content["instructor"]
        proof = self.plan.proof
        slug = self.content["slug"]
        fields: Document = {
            **{name: self.content.get(name) for name in _FIELDS},
            "curriculum": self.content.get("curriculum", []),
            "seo": None,
            "location": None,
            "deleted_at": None,
            "instructor_id": ObjectId(self.instructor),
            "instructor.user_id": ObjectId(self.instructor),
            **{f"instructor.{name}": each for name, each in presented.items()},
            **({} if proof is None else {"instructor.social_proof": proof.document()}),
            "slug": ABSENT if self.plan.taken_slug is not None else slug,
            "claims": {"slug": {"value": slug, **self.created.claim()}},
            "status": self.status,
            "publication": {
                "status": self.status,
                "published_at": self.published_at,
                "version": self.live,
                "last_updated": self.last_updated,
                "next_update_scheduled": self.next_update_at,
                "changelog": self.changelog,
            },
            "without_effect": self.without_effect,
            "created_at": self.created.at,
            "updated_at": self.last.at,
        }
        return self._document("courses", ObjectId(self.plan.course.course_id), fields)

    def expected_versions(self) -> list[ExpectedDocument]:
        """The documents of its versions, and their history; there is neither of a course without versions."""
        if not self.versions:
            return []
        listed = [
            {"version": each.label, "created_at": each.created_at, "status": each.listed(self.live)}
            for each in reversed(self.versions.values())
        ]
        key = ObjectId(self.plan.course.course_id)
        history = {
            "entity_type": "course",
            "entity_id": key,
            "versions": listed,
            "versions_total": len(listed),
            "current_version": self.live,
            "without_effect": None,
        }
        parts = [self._version(each) for each in self.versions.values()]
        return [self._document("version_history", key, history), *parts]

    def _version(self, version: _Version) -> ExpectedDocument:
        course_id = self.plan.course.course_id
        digest = hashlib.sha1(f"course_{course_id}:{version.label}".encode(), usedforsecurity=False).digest()
        fields = {
            "course_id": ObjectId(course_id),
            "version": version.label,
            "course_snapshot": version.snapshot,
            "changes.type": version.kind,
            "changes.summary": version.summary,
            "changes.total": len(version.changes),
            "changes.detailed_changes.action": sorted(action for action, _ in version.changes),
            "changes.detailed_changes.path": sorted(path for _, path in version.changes),
            "metadata": {
                "created_by": ObjectId(self.instructor),
                "approved_by": ObjectId(self.instructor),
                "migration_required": False,
                "backward_compatible": True,
                "breaking_changes": [],
            },
            "deployment": {
                "status": version.status,
                "deployed_at": version.deployed_at,
                "rollback_version": version.rollback_version,
            },
            "created_at": version.created_at,
        }
        return self._document("course_versions", ObjectId(digest[:12]), fields)

    def _document(self, collection: str, key: ObjectId, fields: Document) -> ExpectedDocument:
        return ExpectedDocument(collection, key, fields, after_term=self.plan.after_term)


def _shown_price(pricing: Mapping[str, Any]) -> Document:
    """Amounts are decimal texts in events, and numbers in documents."""
    amounts = ("amount", "original_price", "price_per_installment")

    def number(value: Mapping[str, Any]) -> Document:
        return {name: float(each) if name in amounts else each for name, each in value.items()}

    shown = {**pricing, "price": number(pricing["price"])}
    if "payment_plans" in pricing:
        shown["payment_plans"] = [number(each) for each in pricing["payment_plans"]]
    return shown


def _modules(random: Random, lesson_ids: Sequence[str]) -> list[Document]:
    """Two modules, or none of a course without lessons."""
    lessons = [_lesson(each, place) for place, each in enumerate(lesson_ids)]
    half = (len(lessons) + 1) // 2
    halves = [each for each in (lessons[:half], lessons[half:]) if each]
    return [
        {
            "_id": object_id(random),
            "title": f"Part {place}",
            "order": place,
            "type": "module",
            "lessons": each,
        }
        for place, each in enumerate(halves, start=1)
    ]


def _lesson(lesson_id: str, place: int) -> Document:
    return {
        "_id": lesson_id,
        "title": f"Lesson {place + 1}",
        "type": LESSON_TYPES[place % len(LESSON_TYPES)],
        "order": place + 1,
        "duration_minutes": 10 + place,
        "topic": TOPICS[place % len(TOPICS)],
        "skills": [SKILLS[place % len(SKILLS)]],
    }


def _with_object_ids(module: Mapping[str, Any]) -> Document:
    lessons = [{**each, "_id": ObjectId(each["_id"])} for each in module["lessons"]]
    return {**module, "_id": ObjectId(module["_id"]), "lessons": lessons}


def _stamps(modules: Sequence[Mapping[str, Any]], live: str | None) -> dict[str | None, Document]:
    plain = {"version": live}
    by_lesson = {
        lesson["_id"]: {
            **plain,
            "module_id": ObjectId(module["_id"]),
            "lesson_type": lesson["type"],
            "topic": lesson["topic"],
            "skills": lesson["skills"],
        }
        for module in modules
        for lesson in module["lessons"]
    }
    return {**by_lesson, None: plain}
