"""What happens to courses: one class per event type; its docstring is its meaning."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from worker.contract.data_class import IDENTIFIER, INTERNAL, PERSONAL, PUBLIC
from worker.contract.events.course_parts import (
    MOST_MODULES,
    Description,
    Instructor,
    Learning,
    Media,
    Metadata,
    Module,
    Point,
    Pricing,
    Sentence,
    Sentences,
    Seo,
    Slug,
    Title,
    Version,
)
from worker.contract.family import Family, Inlet
from worker.contract.fields import MAX_LESSONS, Id, Maybe, Time
from worker.contract.models import Details, Envelope, by_type


class CourseEvent(Envelope):
    """Something that happened to a course."""

    course_id: Id


class CourseDescribedDetails(Details):
    """A part that is left out stays as it is; null removes it, where it may."""

    title: Maybe[Title] = None
    slug: Maybe[Slug] = None
    subtitle: Sentence | None = None
    description: Maybe[Description] = None
    metadata: Maybe[Metadata] = None
    learning: Maybe[Learning] = None
    seo: Maybe[Seo] = None
    instructor: Maybe[Instructor] = None


class CourseCreatedDetails(CourseDescribedDetails):
    """With what a course begins; all but title, slug and instructor may follow later."""

    title: Title
    slug: Slug
    instructor_id: Id
    pricing: Maybe[Pricing] = None
    media: Maybe[Media] = None
    location: Point | None = None


class CourseInstructorDetails(Details):
    """Who teaches the course from now on."""

    instructor_id: Id


class CoursePricedDetails(Details):
    """What the course costs from now on."""

    pricing: Pricing


class CourseMediaDetails(Details):
    """Which pictures and films it has from now on."""

    media: Media


class CourseLocationDetails(Details):
    """Where the course takes place; null: nowhere."""

    location: Point | None


class CurriculumDetails(Details):
    """The whole curriculum: modules and lessons, each id once. It takes the place of the former one."""

    curriculum: Annotated[list[Module], Field(max_length=MOST_MODULES)]

    @model_validator(mode="after")
    def _each_id_once(self) -> Self:
        lessons = [lesson.id for module in self.curriculum for lesson in module.lessons]
        if len(lessons) > MAX_LESSONS:
            raise PydanticCustomError("curriculum", f"must have at most {MAX_LESSONS} lessons")
        ids = [*(module.id for module in self.curriculum), *lessons]
        if len(set(ids)) < len(ids):
            raise PydanticCustomError("curriculum", "must have each module and each lesson once")
        return self


class CoursePublishedDetails(Details):
    """When the next revision is planned; left out or null: none is."""

    next_update_scheduled: Time | None = None


class CourseVersionDetails(Details):
    """A version of the course, by its number as its author writes it."""

    version: Version


class CourseVersionCreatedDetails(CourseVersionDetails):
    """What a version changes, in words, and what learners who have begun must be moved for.

    `changes` are the lines of the changelog; without them it has the summary.
    """

    type: Literal["major", "minor_update", "patch", "hotfix"]
    summary: Sentence
    changes: Maybe[Sentences] = None
    created_by: Maybe[Id] = None
    approved_by: Maybe[Id] = None
    migration_required: Maybe[bool] = None
    backward_compatible: Maybe[bool] = None
    breaking_changes: Maybe[Sentences] = None


class CourseVersionApprovedDetails(CourseVersionDetails):
    """Who approved it."""

    approved_by: Id


class CourseVersionRolledBackDetails(CourseVersionDetails):
    """`version` is the one that is left, `rollback_version` the one that is live again."""

    rollback_version: Version


class CourseCreated(CourseEvent):
    """A course begins, as a draft."""

    event_type: Literal["course_created"]
    details: CourseCreatedDetails


class CourseDescribed(CourseEvent):
    """Title, texts, metadata, aims, presentation of the instructor or search terms change."""

    event_type: Literal["course_described"]
    details: CourseDescribedDetails


class CourseInstructorChanged(CourseEvent):
    """Another instructor teaches the course."""

    event_type: Literal["course_instructor_changed"]
    details: CourseInstructorDetails


class CoursePriced(CourseEvent):
    """The course has another price, or other ways to pay it."""

    event_type: Literal["course_priced"]
    details: CoursePricedDetails


class CourseMediaChanged(CourseEvent):
    """The course has other pictures or films."""

    event_type: Literal["course_media_changed"]
    details: CourseMediaDetails


class CourseLocationChanged(CourseEvent):
    """The course takes place somewhere else, or nowhere."""

    event_type: Literal["course_location_changed"]
    details: CourseLocationDetails


class CurriculumPublished(CourseEvent):
    """The course has this curriculum from now on."""

    event_type: Literal["curriculum_published"]
    details: CurriculumDetails


class CoursePublished(CourseEvent):
    """The course is to be seen and bought; or, once it is, its next revision is planned."""

    event_type: Literal["course_published"]
    details: Maybe[CoursePublishedDetails] = None


class CourseStatusChanged(CourseEvent):
    """The course was submitted for review, returned to its author, archived, deleted, or restored after that."""

    event_type: Literal[
        "course_submitted", "course_returned_to_draft", "course_archived", "course_deleted", "course_restored"
    ]
    details: Maybe[Details] = None


class CourseVersionCreated(CourseEvent):
    """The course as it is becomes a version, which nobody has yet."""

    event_type: Literal["course_version_created"]
    details: CourseVersionCreatedDetails


class CourseVersionApproved(CourseEvent):
    """Somebody approved a version."""

    event_type: Literal["course_version_approved"]
    details: CourseVersionApprovedDetails


class CourseVersionDeployed(CourseEvent):
    """Learners have this version from now on."""

    event_type: Literal["course_version_deployed"]
    details: CourseVersionDetails


class CourseVersionRolledBack(CourseEvent):
    """Learners have a former version again."""

    event_type: Literal["course_version_rolled_back"]
    details: CourseVersionRolledBackDetails


_COURSE: Final = {"course_id": "65a4f0c2e13b7a0001aaaaaa"}
_PRICING: Final = {
    "type": "paid",
    "price": {
        "amount": "199.99",
        "currency": "USD",
        "original_price": "299.99",
        "discount_percentage": 33,
    },
    "payment_plans": [
        {"type": "one_time", "price": "199.99"},
        {"type": "installments", "installments": 3, "price_per_installment": "69.99"},
    ],
}
_CURRICULUM: Final = [
    {
        "_id": "65a4f0c2e13b7a0001b00001",
        "title": "Introduction to Web Development",
        "order": 1,
        "type": "module",
        "duration_minutes": 120,
        "is_free": True,
        "lessons": [
            {
                "_id": "65a4f0c2e13b7a0001bbbbbb",
                "title": "What is Web Development?",
                "type": "video",
                "order": 1,
                "duration_minutes": 15,
                "is_free": True,
                "topic": "the web",
                "skills": ["HTML/CSS"],
                "content": {"video_url": "https://video.example.com/lessons/lesson001.mp4"},
            }
        ],
    }
]

COURSES: Final = Family(
    "courses",
    Inlet.CONTENT,
    ("course",),
    by_type(
        CourseCreated,
        CourseDescribed,
        CourseInstructorChanged,
        CoursePriced,
        CourseMediaChanged,
        CourseLocationChanged,
        CurriculumPublished,
        CoursePublished,
        CourseStatusChanged,
        CourseVersionCreated,
        CourseVersionApproved,
        CourseVersionDeployed,
        CourseVersionRolledBack,
    ),
    classes={
        "event_type": PUBLIC,
        "occurred_at": PUBLIC,
        "details.title": PUBLIC,
        "details.slug": PUBLIC,
        "details.subtitle": PUBLIC,
        "details.description": PUBLIC,
        "details.metadata": PUBLIC,
        "details.learning": PUBLIC,
        "details.seo": PUBLIC,
        "details.pricing": PUBLIC,
        "details.media": PUBLIC,
        "details.location": PUBLIC,
        "details.curriculum": PUBLIC,
        "details.*": INTERNAL,
        "details.instructor_id": IDENTIFIER,
        "details.instructor": PERSONAL,  # a person's own presentation
        "details.next_update_scheduled": INTERNAL,
        "details.version": INTERNAL,
        "details.rollback_version": INTERNAL,
        "details.type": INTERNAL,
        "details.summary": INTERNAL,
        "details.changes": INTERNAL,
        "details.created_by": IDENTIFIER,
        "details.approved_by": IDENTIFIER,
        "details.migration_required": INTERNAL,
        "details.backward_compatible": INTERNAL,
        "details.breaking_changes": INTERNAL,
    },
    unsaid=(
        "a price above its `original_price`, a `free` course that costs something, a `paid` one that costs nothing",
        "a curriculum that has a module or a lesson twice, or more than 5,000 lessons",
    ),
    examples={
        "course_created": {
            **_COURSE,
            "details": {
                "title": "Full Stack Web Development Bootcamp",
                "slug": "full-stack-web-development-bootcamp",
                "instructor_id": "65a4f0c2e13b7a0001c0ffee",
                "metadata": {"category": "Web Development", "level": "intermediate", "language": "en"},
                "pricing": _PRICING,
            },
        },
        "course_described": {
            **_COURSE,
            "details": {
                "subtitle": "Learn HTML, CSS, JavaScript, React, Node.js, and MongoDB",
                "description": {"short": "From the first page to a running platform"},
                "metadata": {"tags": ["javascript", "react"], "duration": {"total_minutes": 3600}},
                "learning": {"skills_covered": [{"skill": "HTML/CSS", "level": "intermediate", "hours": 10}]},
                "instructor": {"bio": "Senior developer", "credentials": ["BS Computer Science"]},
                "seo": {"meta_title": "Full Stack Web Development Bootcamp", "keywords": ["react"]},
            },
        },
        "course_instructor_changed": {**_COURSE, "details": {"instructor_id": "65a4f0c2e13b7a0001c0ffee"}},
        "course_priced": {**_COURSE, "details": {"pricing": _PRICING}},
        "course_media_changed": {
            **_COURSE,
            "details": {
                "media": {
                    "thumbnail": {
                        "url": "https://cdn.example.com/thumbnails/course123.jpg",
                        "alt": "Bootcamp",
                    },
                    "gallery": ["https://cdn.example.com/gallery/course123_1.jpg"],
                }
            },
        },
        "course_location_changed": {
            **_COURSE,
            "details": {"location": {"type": "Point", "coordinates": [13.405, 52.52]}},
        },
        "curriculum_published": {**_COURSE, "details": {"curriculum": _CURRICULUM}},
        "course_published": {**_COURSE, "details": {"next_update_scheduled": "2024-03-01T00:00:00Z"}},
        **dict.fromkeys(
            (
                "course_submitted",
                "course_returned_to_draft",
                "course_archived",
                "course_deleted",
                "course_restored",
            ),
            _COURSE,
        ),
        "course_version_created": {
            **_COURSE,
            "details": {
                "version": "2.1",
                "type": "minor_update",
                "summary": "Added React Hooks and updated Node.js content",
                "changes": ["Added new React Hooks section", "Updated Node.js content"],
                "created_by": "65a4f0c2e13b7a0001c0ffee",
                "migration_required": False,
                "backward_compatible": True,
                "breaking_changes": [],
            },
        },
        "course_version_approved": {
            **_COURSE,
            "details": {"version": "2.1", "approved_by": "65a4f0c2e13b7a0001c0ffee"},
        },
        "course_version_deployed": {**_COURSE, "details": {"version": "2.1"}},
        "course_version_rolled_back": {
            **_COURSE,
            "details": {"version": "2.1", "rollback_version": "2.0.3"},
        },
    },
)
