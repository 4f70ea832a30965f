"""The value that registers `progress`: a learner's record in a course."""

from projections.event import OPENING
from projections.kinds import Index, Rules, StreamProjection, Target
from projections.progress.apply import RULES
from projections.progress.document import FOLDED_PATHS, ProgressDocument
from projections.progress.fold import PROJECTION_VERSION, fold, refold
from projections.progress.opening import opened_state
from worker.contract.family import LEARNER

_COLLECTION = "user_progress"

PROGRESS = StreamProjection(
    name="progress",
    version=PROJECTION_VERSION,
    about=LEARNER,
    target=Target(
        collection=_COLLECTION,
        shapes=(ProgressDocument,),
        indexes=(
            Index(
                _COLLECTION,
                "idx_user_progress_user_course_unique",
                (("user_id", 1), ("course_id", 1)),
                {"unique": True},
            ),
        ),
    ),
    paths=FOLDED_PATHS,
    fold=fold,
    refold=refold,
    large="lesson_progress",
    rules=Rules(RULES.every, {**RULES.by_type, OPENING: opened_state}),
)
