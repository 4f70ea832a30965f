"""The specification's course: events that rebuild it, and where each field of it comes from."""

from collections.abc import Mapping
from typing import Any

from projections.content.courses.projection import COURSES
from tests.spec.compare import plain, sample, unexplained
from tests.spec.extract import paths
from tests.support.courses import COURSE, TEACHER, sent, story
from worker.storage.database import Document
from worker.storage.models import Course
from worker.verify.shapes import misfits_of

NOT_OF_THE_FOLD = {
    "slug": "the fold claims it (`claims.slug`); the earliest claim has it, by `course_claims`",
    "stats": "sums over the records of its learners, by `counts`",
    "instructor.social_proof": "sums over all courses of the instructor",
}
"""Of a course's sample what other projections compute, with the reason."""


def ids(value: Any, numbers: list[int]) -> Any:
    """The sample with an id wherever it leaves one open."""
    if isinstance(value, Mapping):
        if value.get("$oid", "") is None:
            numbers[0] += 1
            return f"{numbers[0]:024x}"
        return {name: ids(each, numbers) for name, each in value.items()}
    return [ids(each, numbers) for each in value] if isinstance(value, list) else value


def text_of(amount: float) -> str:
    return f"{amount:.2f}"


def pricing_of(pricing: Mapping[str, Any]) -> Document:
    price = pricing["price"]
    amounts = ("amount", "original_price", "price", "price_per_installment")

    def sent_as(part: Mapping[str, Any]) -> Document:
        return {name: text_of(value) if name in amounts else value for name, value in part.items()}

    return {
        "type": pricing["type"],
        "price": sent_as(price),
        "payment_plans": [sent_as(each) for each in pricing["payment_plans"]],
    }


def events_of(wanted: Mapping[str, Any]) -> list[Document]:
    """What producers send to make this course."""
    whole = plain(ids(wanted, [0]))
    instructor, log = whole["instructor"], whole["publication"]["changelog"][0]
    described = ("subtitle", "description", "metadata", "learning", "seo")
    texts = {name: instructor[name] for name in ("bio", "credentials")}
    return [
        sent("course_created", 0, title=whole["title"], slug=whole["slug"], instructor_id=TEACHER),
        sent("course_described", 1, **{name: whole[name] for name in described}, instructor=texts),
        sent("course_priced", 2, pricing=pricing_of(whole["pricing"])),
        sent("course_media_changed", 3, media=whole["media"]),
        sent("curriculum_published", 4, curriculum=whole["curriculum"]),
        sent("course_submitted", 5),
        sent(
            "course_published",
            6,
            next_update_scheduled=f"{whole['publication']['next_update_scheduled']}T00:00:00Z",
        ),
        sent(
            "course_version_created",
            7,
            version=log["version"],
            type="minor_update",
            summary="a revision",
            changes=log["changes"],
            created_by=TEACHER,
        ),
        sent("course_version_deployed", 8, version=log["version"]),
    ]


def test_events_rebuild_the_course_of_the_specification() -> None:
    wanted = sample("courses")
    document = {"_id": COURSE, "rev": 1, **COURSES.refold(story(events_of(wanted)), None, "live")}

    assert unexplained(wanted, document, NOT_OF_THE_FOLD) == []
    assert set(NOT_OF_THE_FOLD) <= set(paths(wanted)), "each exception is a field of the specification"
    assert document["claims"]["slug"]["value"] == wanted["slug"]
    for shapes in ((Course,), COURSES.target.shapes):
        assert misfits_of(shapes, document) == []
