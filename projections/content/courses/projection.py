"""The value that registers `courses`: what everybody reads of a course, made of the course's events."""

from typing import get_args

from projections.content.courses.content import take
from projections.content.courses.document import FOLDED_PATHS, CourseDocument
from projections.content.courses.fold import COURSES_FOLD, adopted_at, has_begun
from projections.content.courses.pricing import PRICE_UNLIKE_TYPE
from projections.content.courses.steps import STEP_TYPES, Life, Reason
from projections.event import read_paths
from projections.kinds import Rules, StreamProjection, Target

COURSES = StreamProjection(
    name="courses",
    version=COURSES_FOLD.version,
    about=("course",),
    # Its indexes are the spec's, and stand with the platform's.
    target=Target(collection="courses", shapes=(CourseDocument,)),
    paths=FOLDED_PATHS,
    fold=COURSES_FOLD.fold,
    refold=COURSES_FOLD.refold,
    event_paths=read_paths(None),
    rules=Rules(take, dict.fromkeys(sorted(STEP_TYPES), Life.take)),
    reasons=(*get_args(Reason), PRICE_UNLIKE_TYPE),
    begun=has_begun,
    adopted=adopted_at,
)
