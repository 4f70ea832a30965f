"""What an instructor's courses add up to: learners, each counted once, ratings, courses, and what was paid for them.

The sums are integers, kept in `instructor_statistics`, so that they depend on no order; what readers see of them, in
`users.stats` and in the courses, is made of them each time. Formulas: docs/projections.md, "Instructors".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import add
from typing import Annotated, Any, NamedTuple

from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field

from projections.counts.counted import Counted
from projections.quantity import mean

Document = dict[str, Any]
Revenue = Mapping[str, int]
"""By currency, in ten-thousandths: what payments have at most."""

INSTRUCTORS_COLLECTION = "instructor_statistics"
REVENUE = "revenue"
"""The sum of what was paid for each course, by its name; without it nobody has a revenue."""
REVENUE_COLLECTION = "course_revenue"

_TEN_THOUSAND = 10_000


class Taught(NamedTuple):
    """Sums over an instructor's courses, or a difference. `students` are different learners."""

    enrolled: int = 0
    rated: int = 0
    rating: int = 0
    students: int = 0
    courses: int = 0

    def __add__(self, other: "Taught") -> "Taught":  # type: ignore[override]  # not one behind the other
        return Taught._make(map(add, self, other))


_NONE = Taught()


@dataclass(frozen=True, slots=True)
class Teaching:
    """All there is to an instructor's statistics."""

    sums: Taught = _NONE
    revenue: Revenue = field(default_factory=dict)

    def moved(self, counted: Counted, students: int) -> "Teaching":
        """After learners of these courses have moved by `counted`; so many more learn with the instructor."""
        more = Taught(counted.enrolled, counted.rated, counted.rating, students)
        return replace(self, sums=self.sums + more)

    def document(self) -> Document:
        """As it is stored."""
        return {**self.sums._asdict(), "revenue": dict(sorted(self.revenue.items()))}


class InstructorStatistics(BaseModel):
    """`instructor_statistics`: by the instructor's `_id` the sums that are shown of them."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)

    id: ObjectId = Field(alias="_id")
    enrolled: Annotated[int, Field(ge=0)]
    rated: Annotated[int, Field(ge=0)]
    rating: Annotated[int, Field(ge=0)]
    students: Annotated[int, Field(ge=0)]
    courses: Annotated[int, Field(ge=0)]
    revenue: dict[str, int]


def teaching_in(stored: object) -> Teaching | None:
    """The statistics that a document holds, None where it holds something else than our integers."""
    if not isinstance(stored, Mapping) or not isinstance(stored.get("revenue"), Mapping):
        return None
    values, revenue = [stored.get(name) for name in Taught._fields], stored["revenue"]
    if any(isinstance(each, bool) or not isinstance(each, int) for each in (*values, *revenue.values())):
        return None
    numbers = Taught._make(int(each) for each in values if each is not None)
    return Teaching(numbers, {name: int(each) for name, each in revenue.items()})


def teaching_stats(teaching: Teaching, currency: str) -> Document:
    """The instructor's fields of `users.stats`; `total_revenue` is in this currency, `revenue` in each there is."""
    return {
        "courses_created": teaching.sums.courses,
        "total_students": teaching.sums.students,
        "avg_rating": _average_rating(teaching),
        "total_revenue": _money(teaching.revenue.get(currency, 0)),
        "revenue": {name: _money(each) for name, each in sorted(teaching.revenue.items())},
    }


def social_proof(teaching: Teaching) -> Document:
    """`instructor.social_proof` of each course of the instructor."""
    return {
        "students_taught": teaching.sums.students,
        "courses_created": teaching.sums.courses,
        "average_rating": _average_rating(teaching),
    }


def _average_rating(teaching: Teaching) -> float:
    sums = teaching.sums
    return mean(sums.rating, sums.rated) / 100 if sums.rated else 0.0


def _money(ten_thousandths: int) -> float:
    return ten_thousandths / _TEN_THOUSAND
