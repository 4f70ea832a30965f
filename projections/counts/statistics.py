"""From sums to what readers see: rates and averages are derived from the integers each time, never added up."""

from collections.abc import Mapping
from typing import Any

from bson import ObjectId

from projections.counts.counted import LEARNING, Counted
from projections.counts.teaching import Teaching, teaching_stats
from projections.quantity import mean

Document = dict[str, Any]

USUAL_CURRENCY = "USD"
"""Of `total_revenue`, where no setting says otherwise."""

# Hundredths of a percent in a whole.
_WHOLE = 10_000


def course_stats(sums: Counted) -> Document:
    """The worker's fields of `courses.stats` for the sum over a course's learners.

    `ratings.average` in stars with two decimals, half up; `completion_rate` and `average_progress` 0-1; each is
    0.0 where there is nothing to average.
    """
    total = sums.enrolled
    return {
        "enrollments": {"total": total, "active": sums.active, "completed": sums.completed},
        "ratings": {
            "average": _average_rating(sums),
            "total_reviews": sums.rated,
            "distribution": {str(star): getattr(sums, f"stars_{star}") for star in range(1, 6)},
        },
        "engagement": {
            "completion_rate": sums.completed / total if total else 0.0,
            "average_progress": sums.progress / (total * _WHOLE) if total else 0.0,
            "discussion_posts": sums.discussion_posts,
            "questions_asked": sums.questions_asked,
        },
        "sums": sums.document(),
    }


def user_stats(learning: Counted, teaching: Teaching | None, currency: str = USUAL_CURRENCY) -> Document:
    """The worker's fields of `users.stats`: sums over the user's own courses, and over those the user teaches.

    `teaching` is None for a user who never taught; such a document gets no instructor's fields. What was paid is
    shown in `currency` first.
    """
    stats: Document = {
        "courses_enrolled": learning.enrolled,
        "courses_completed": learning.completed,
        "certificates_earned": learning.certificates,
    }
    sums: Document = {"learning": learning.document(LEARNING)}
    if teaching is not None:
        stats |= teaching_stats(teaching, currency)
        sums["teaching"] = teaching.document()
    return {**stats, "sums": sums}


def _average_rating(sums: Counted) -> float:
    return mean(sums.rating, sums.rated) / 100 if sums.rated else 0.0


def instructor_of(course: Mapping[str, Any]) -> ObjectId | None:
    """`instructor_id`, else `instructor.user_id`: the spec has both."""
    nested = course.get("instructor")
    candidates = (course.get("instructor_id"), nested.get("user_id") if isinstance(nested, dict) else None)
    return next((each for each in candidates if isinstance(each, ObjectId)), None)
