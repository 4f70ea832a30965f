"""The life of a course: written, reviewed, published, revised, priced, archived; and the documents of it.

It is written while it is lived: `content` is what the course shows by now, as its authors know.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

from bson import ObjectId

from worker.devstack.simulator.ledger import ABSENT, Course, ExpectedDocument
from worker.devstack.simulator.lives.writer import PlatformEvent, Said, Writer, refused, written
from worker.devstack.simulator.planner import object_id
from worker.devstack.simulator.platform_documents import TITLES

KINDS = ("video", "article", "quiz", "interactive", "assignment")
"""Of lessons, in turns."""
TOPICS = ("basics", "practice", "projects")
SKILLS = ("analysis", "design", "writing", "coding")
LEVELS = ("beginner", "intermediate", "advanced")
FIRST, REVISED, FAILED = "1.0", "1.1", "2.0"
"""The versions of a course: the last one is rolled back."""
PRICE, LOWER_PRICE = "199.00", "149.00"
CURRENCY = "EUR"
_PARTS: Final = ("title", "subtitle", "description", "metadata", "pricing", "media", "curriculum", "learning")

Document = dict[str, Any]


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

    `slug` is asked for instead of one of its own, which another course has; `draft`: it never gets any further.
    """

    course: Course
    term: datetime
    proof: SocialProof | None = None
    slug: str | None = None
    draft: bool = False
    afterwards: bool = False

    @property
    def title(self) -> str:
        return TITLES[self.course.number % len(TITLES)]

    @property
    def own_slug(self) -> str:
        """One that no other course asks for."""
        return f"{self.title.lower().replace(' ', '-')}-{self.course.course_id[:8]}"

    @property
    def rolls_back(self) -> bool:
        """Of two courses one is revised once too often."""
        return self.course.number % 2 == 0

    @property
    def is_archived(self) -> bool:
        return self.course.number % 4 == 2


@dataclass(frozen=True, slots=True)
class CourseLife:
    """A course's events, its documents, and its modules with their lessons; `workflow_at` is when it is reviewed."""

    events: Sequence[PlatformEvent]
    documents: Sequence[ExpectedDocument]
    modules: Mapping[str, Sequence[str]]
    stamps: Mapping[str | None, Document]
    workflow_at: datetime


def live_course(plan: CoursePlan, random: Random) -> CourseLife:
    """The events of a course, and its documents.

    1. written  2. reviewed, published  3. revised, and rolled back  4. priced anew, planned, archived: in the term
    """
    begins_at = plan.term - timedelta(days=80 - plan.course.number % 10)
    course = _Course(plan, Writer(random, "authoring", begins_at, afterwards=plan.afterwards))
    course.write()
    if not plan.draft:
        course.publish()
        course.revise()
        course.go_on()
    modules = {module["_id"]: [each["_id"] for each in module["lessons"]] for module in course.modules}
    return CourseLife(
        course.writer.events,
        [course.expected(), *course.expected_versions()],
        modules,
        _stamps(course.modules, course.live),
        begins_at + timedelta(days=5),
    )


@dataclass(slots=True)
class _Version:
    """A version while the life goes on."""

    label: str
    kind: str
    summary: str
    created_at: datetime
    snapshot: Document
    changes: list[tuple[str, str]]
    status: str = "draft"
    deployed_at: datetime | None = None
    former: str | None = None


@dataclass(slots=True)
class _Course:
    """A course while its life is written."""

    plan: CoursePlan
    writer: Writer
    ids: Mapping[str, str] = field(init=False)
    content: Document = field(default_factory=dict)
    modules: list[Document] = field(default_factory=list)
    versions: dict[str, _Version] = field(default_factory=dict)
    log: list[Document] = field(default_factory=list)
    live: str | None = None
    status: str = "draft"
    created: Said = field(init=False)
    last: Said = field(init=False)
    published_at: datetime | None = None
    given_at: datetime | None = None
    planned_at: datetime | None = None
    without_effect: Document | None = None

    def __post_init__(self) -> None:
        self.ids = {"course_id": self.plan.course.course_id}

    @property
    def instructor(self) -> str:
        return self.plan.course.instructor_id

    def say(self, event_type: str, **details: Any) -> Said:
        said = self.writer.say(event_type, self.ids, details or None)
        self.last = said
        return said

    def write(self) -> None:
        """Title and price first, then texts, pictures, and a curriculum to which the last lesson is still to come."""
        plan = self.plan
        pricing = {"type": "paid", "price": {"amount": PRICE, "currency": CURRENCY}}
        metadata: Document = {
            "category": "Skills",
            "tags": plan.title.lower().split(),
            "level": LEVELS[plan.course.number % len(LEVELS)],
            "language": "en",
        }
        asked = plan.slug or plan.own_slug
        self.created = self.say(
            "course_created",
            title=plan.title,
            slug=asked,
            instructor_id=self.instructor,
            metadata=metadata,
            pricing=pricing,
        )
        self.content = {
            "title": plan.title,
            "metadata": metadata,
            "pricing": _shown_price(pricing),
            "instructor_id": ObjectId(self.instructor),
            "slug": asked,
        }
        described: Document = {
            "subtitle": f"{plan.title}, step by step",
            "description": {"short": "What one needs to begin.", "detailed": "And what one needs to go on."},
            "learning": {"objectives": ["know the words"], "prerequisites": ["curiosity"]},
            "instructor": {"bio": "Teaches since long ago.", "credentials": ["a diploma"]},
        }
        self.say("course_described", **described)
        media = {
            "thumbnail": {"url": f"https://cdn.example.org/{asked}.jpg", "alt": plan.title},
            "gallery": [f"https://cdn.example.org/{asked}-1.jpg"],
        }
        self.say("course_media_changed", media=media)
        self.content |= {**described, "media": media}
        if plan.course.number % 4 == 1:  # too early: nothing follows from it
            too_early = self.say("course_published")
            self.without_effect = refused(too_early, "course_published", "wrong_status")
        self.modules = _modules(self.writer.random, plan.course.lessons)
        if plan.course.lessons:
            self._publish_curriculum(plan.course.lessons[:-1])

    def publish(self) -> None:
        """Submitted, reviewed for some days, and published as its first version."""
        self.writer.wait(days=4)
        self.say("course_submitted")
        self.writer.wait(days=10)
        names = [*_PARTS, "instructor_id", "instructor", "slug"]
        self._make_version(FIRST, "major", "the course as it begins", [("add", each) for each in names])
        self._deploy(FIRST)
        said = self.say("course_published")
        self.status, self.published_at, self.given_at = "published", said.at, said.at

    def revise(self) -> None:
        """The last lesson comes. Every second course is revised once more, and goes back to what it was."""
        self.writer.wait(days=5)
        self._publish_curriculum(self.plan.course.lessons)
        self._make_version(REVISED, "minor_update", "one lesson more", [self._lesson_added()])
        self._deploy(REVISED)
        if not self.plan.rolls_back:
            return
        self.writer.wait(days=5)
        subtitle = self.content["subtitle"]
        self._retitle("Everything, at once")
        self._make_version(FAILED, "major", "another promise", [("update", "subtitle")])
        self._deploy(FAILED)
        self.writer.wait(days=1)
        said = self.say("course_version_rolled_back", version=FAILED, rollback_version=REVISED)
        self.live, self.given_at = REVISED, said.at
        self.log = [each for each in self.log if each["version"] != FAILED]
        self.versions[FAILED].status, self.versions[FAILED].former = "rolled_back", REVISED
        self._retitle(subtitle)

    def go_on(self) -> None:
        """While learners are at it: a lower price, the next revision planned, or the end."""
        self.writer.wait_until(self.plan.term + timedelta(days=1, hours=self.plan.course.number))
        pricing: Document = {
            "price": {"amount": LOWER_PRICE, "currency": CURRENCY, "original_price": PRICE},
            "payment_plans": [{"type": "installments", "installments": 3, "price_per_installment": "49.67"}],
        }
        self.say("course_priced", pricing=pricing)
        self.content["pricing"] = {"type": "paid", **_shown_price(pricing)}
        self.writer.wait(days=1)
        if self.plan.is_archived:
            self.say("course_archived")
            self.status = "archived"
            return
        self.planned_at = self.plan.term + timedelta(days=120)
        self.given_at = self.say("course_published", next_update_scheduled=written(self.planned_at)).at

    def _retitle(self, subtitle: str) -> None:
        self.say("course_described", subtitle=subtitle)
        self.content["subtitle"] = subtitle

    def _publish_curriculum(self, lessons: Sequence[str]) -> None:
        known = {*lessons}
        shown = [
            {**module, "lessons": [each for each in module["lessons"] if each["_id"] in known]}
            for module in self.modules
        ]
        self.say("curriculum_published", curriculum=shown)
        self.content["curriculum"] = [_with_object_ids(module) for module in shown]

    def _lesson_added(self) -> tuple[str, str]:
        return "add", f"curriculum.{len(self.modules) - 1}.lessons"

    def _make_version(self, label: str, kind: str, summary: str, changes: list[tuple[str, str]]) -> None:
        said = self.say(
            "course_version_created", version=label, type=kind, summary=summary, created_by=self.instructor
        )
        self.versions[label] = _Version(label, kind, summary, said.at, dict(self.content), changes)
        self.say("course_version_approved", version=label, approved_by=self.instructor)

    def _deploy(self, label: str) -> None:
        said = self.say("course_version_deployed", version=label)
        version = self.versions[label]
        version.status, version.deployed_at, version.former = "deployed", said.at, self.live
        self.live, self.given_at = label, said.at
        entry = {"version": label, "date": said.at, "changes": [version.summary]}
        self.log.insert(0, {**entry, "author": ObjectId(self.instructor)})

    def expected(self) -> ExpectedDocument:
        """The course's document."""
        presented = self.content["instructor"]
        proof = self.plan.proof
        slug = self.content["slug"]
        fields: Document = {
            **{name: self.content.get(name) for name in _PARTS},
            "curriculum": self.content.get("curriculum", []),
            "seo": None,
            "location": None,
            "deleted_at": None,
            "instructor_id": ObjectId(self.instructor),
            "instructor.user_id": ObjectId(self.instructor),
            **{f"instructor.{name}": each for name, each in presented.items()},
            **({} if proof is None else {"instructor.social_proof": proof.document()}),
            "slug": ABSENT if self.plan.slug is not None else slug,
            "claims": {"slug": {"value": slug, **self.created.moment()}},
            "status": self.status,
            "publication": {
                "status": self.status,
                "published_at": self.published_at,
                "version": self.live,
                "last_updated": self.given_at,
                "next_update_scheduled": self.planned_at,
                "changelog": self.log,
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
            {"version": each.label, "created_at": each.created_at, "status": self._listed(each)}
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

    def _listed(self, version: _Version) -> str:
        if version.label == self.live:
            return "current"
        return "archived" if version.status == "deployed" else version.status

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
                "rollback_version": version.former,
            },
            "created_at": version.created_at,
        }
        return self._document("course_versions", ObjectId(digest[:12]), fields)

    def _document(self, collection: str, key: ObjectId, fields: Document) -> ExpectedDocument:
        return ExpectedDocument(collection, key, fields, afterwards=self.plan.afterwards)


def _shown_price(pricing: Mapping[str, Any]) -> Document:
    """Amounts are decimal texts in events, and numbers in documents."""
    amounts = ("amount", "original_price", "price_per_installment")

    def number(value: Mapping[str, Any]) -> Document:
        return {name: float(each) if name in amounts else each for name, each in value.items()}

    shown = {**pricing, "price": number(pricing["price"])}
    if "payment_plans" in pricing:
        shown["payment_plans"] = [number(each) for each in pricing["payment_plans"]]
    return shown


def _modules(random: Random, lessons: Sequence[str]) -> list[Document]:
    """Two modules, or none of a course without lessons."""
    half = (len(lessons) + 1) // 2
    halves = [each for each in (lessons[:half], lessons[half:]) if each]
    return [
        {
            "_id": object_id(random),
            "title": f"Part {place}",
            "order": place,
            "type": "module",
            "lessons": [_lesson(each, [*lessons].index(each)) for each in some],
        }
        for place, some in enumerate(halves, start=1)
    ]


def _lesson(lesson_id: str, place: int) -> Document:
    return {
        "_id": lesson_id,
        "title": f"Lesson {place + 1}",
        "type": KINDS[place % len(KINDS)],
        "order": place + 1,
        "duration_minutes": 10 + place,
        "topic": TOPICS[place % len(TOPICS)],
        "skills": [SKILLS[place % len(SKILLS)]],
    }


def _with_object_ids(module: Mapping[str, Any]) -> Document:
    lessons = [{**each, "_id": ObjectId(each["_id"])} for each in module["lessons"]]
    return {**module, "_id": ObjectId(module["_id"]), "lessons": lessons}


def _stamps(modules: Sequence[Mapping[str, Any]], live: str | None) -> dict[str | None, Document]:
    """What learners' events are stamped with, by lesson; None: those of no lesson."""
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
