"""The value that registers `counts`: statistics of courses, of users, and of instructors through their courses.

What shows it (`worker.watch.sums.statistics`) does more than sum: it credits instructors, and puts rows out.
"""

from collections.abc import Mapping
from typing import Any

from projections.counts.counted import Counted, vector
from projections.counts.document import ProgressProjection
from projections.counts.learner import COUNTS_VERSION
from projections.counts.statistics import course_stats, user_stats
from projections.counts.teaching import INSTRUCTORS_COLLECTION, InstructorStatistics
from projections.kinds import Document, Index, Sum, SumProjection, Target, Vector

_COLLECTION = "user_progress_projections"


def _vector(record: Mapping[str, Any]) -> Vector:
    return vector(record).document()


def _course_stats(sums: Vector) -> Document:
    return {"stats": course_stats(Counted(**sums))}


def _user_stats(sums: Vector) -> Document:
    return {"stats": user_stats(Counted(**sums), None)}


COUNTS = SumProjection(
    name="counts",
    version=COUNTS_VERSION,
    source="progress",
    vector=_vector,
    counted=Target(
        collection=_COLLECTION,
        shapes=(ProgressProjection,),
        indexes=(
            Index(
                _COLLECTION,
                "idx_user_progress_projections_user_course_unique",
                (("user_id", 1), ("course_id", 1)),
                {"unique": True},
            ),
            # A course's statistics are summed from its learners' projections.
            Index(_COLLECTION, "idx_user_progress_projections_course", (("course_id", 1),)),
        ),
    ),
    sums=(Sum("courses", "course_id", _course_stats), Sum("users", "user_id", _user_stats)),
    shows=(Target(collection=INSTRUCTORS_COLLECTION, shapes=(InstructorStatistics,)),),
)
