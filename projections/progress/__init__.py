"""The `user_progress` projection: one learner's stream in one course, folded into one document."""

from projections.progress.document import FOLDED_PATHS, ProgressDocument
from projections.progress.fold import PROJECTION_VERSION, contiguous, fold, refold

__all__ = ["FOLDED_PATHS", "PROJECTION_VERSION", "ProgressDocument", "contiguous", "fold", "refold"]
