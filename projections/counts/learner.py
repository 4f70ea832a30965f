"""One learner's step: from the record and what was counted of it to what has to change."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from projections.counts.activity import ActivityEntry
from projections.counts.counted import Counted, counted_before, vector
from projections.kinds import By
from projections.progress.fold import PROJECTION_VERSION

COUNTS_VERSION = 3
"""Goes up with every change of `vector` or of what is put out: whom an older version counted is counted anew."""

RECORD_PATHS = (
    "rev",
    "stream_id",
    "user_id",
    "course_id",
    "version",
    "recorded_at",
    "status",
    "progress",
    "time_tracking.total_seconds",
    "time_tracking.last_activity",
    "social",
    "rating",
    "certificates._id",
    "milestones",
    "enrollment_date",
    "created_at",
    "projection_version",
)
"""What `count_learner` reads of a record: all of `state` stays on the server."""

COUNTED_PATHS = (
    "stream_id",
    "source_rev",
    "last_event_version",
    "counts_version",
    "counted",
    "enrolled_at",
    "emitted",
)
"""What it reads of what was counted before."""

Document = dict[str, Any]
Kind = Literal["welcome", "completion"]

# What a milestone of the record is called in the outbox.
_KINDS: Mapping[Kind, str] = {"welcome": "welcome", "completion": "completed"}


@dataclass(frozen=True, slots=True)
class Milestone:
    """A milestone to announce: when it was reached, which mode of the fold met it, and the percentage at it."""

    kind: Kind
    at: datetime
    by: By
    percentage: float


_NOTHING = Counted()


@dataclass(frozen=True, slots=True)
class Step:
    """What counting one learner changes; of a document of any other sum, only what is counted of it.

    `projection` is the whole next `user_progress_projections` document. `enrolment` is set when the log's entry is
    new or dated anew; `milestones` are those no earlier step has put out.
    """

    projection: Document
    delta: Counted = _NOTHING
    enrolment: ActivityEntry | None = None
    milestones: tuple[Milestone, ...] = ()


def count_learner(
    progress: Mapping[str, Any], projection: Mapping[str, Any] | None, *, doubted: bool = False
) -> Step | None:
    """The step from what `projection` counted to `progress`; None if this revision is counted.

    `doubted`: it is taken whatever the projection says of the revision. A projection of a newer version of this code
    is left alone, and so is a record of an older fold: it is folded anew, which wakes its learner. KeyError,
    TypeError or ValueError for a record no fold wrote.
    """
    known: Mapping[str, Any] = projection or {}
    version = known.get("counts_version", 0)
    counted = version == COUNTS_VERSION and not doubted and _is_counted(progress, known)
    if version > COUNTS_VERSION or counted:
        return None
    if progress["projection_version"] < PROJECTION_VERSION:
        return None
    now = vector(progress)
    emitted: frozenset[str] = frozenset(known.get("emitted", ()))
    milestones = milestones_of(progress)
    enrolled_at = progress["enrollment_date"]
    return Step(
        projection=_projection(progress, now, milestones),
        delta=now - counted_before(known.get("counted", {})),
        enrolment=None
        if enrolled_at is None or enrolled_at == known.get("enrolled_at")
        else ActivityEntry(progress["course_id"], enrolled_at),
        milestones=tuple(each for each in milestones if each.kind not in emitted),
    )


def _is_counted(progress: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """A record that was deleted and folded anew starts again at revision 1: the revision alone does not tell."""
    return (known["source_rev"], known["last_event_version"]) == (progress["rev"], progress["version"])


def milestones_of(progress: Mapping[str, Any]) -> list[Milestone]:
    """The milestones a record has reached, as they are announced."""
    reached = {kind: progress["milestones"][name] for kind, name in _KINDS.items()}
    return [
        Milestone(kind, one["at"], one["by"], one["percentage"])
        for kind, one in reached.items()
        if one is not None
    ]


def _projection(progress: Mapping[str, Any], counted: Counted, milestones: list[Milestone]) -> Document:
    return {
        "_id": progress["_id"],
        "stream_id": progress["stream_id"],
        "user_id": progress["user_id"],
        "course_id": progress["course_id"],
        "current_state": {
            "progress_percentage": progress["progress"]["percentage"],
            "current_lesson": progress["progress"]["current_lesson_id"],
            "total_time_spent": progress["time_tracking"]["total_seconds"],
            "last_activity": progress["time_tracking"]["last_activity"],
            "status": progress["status"],
        },
        "last_event_version": progress["version"],
        "source_rev": progress["rev"],
        "counts_version": COUNTS_VERSION,
        "counted": counted.document(),
        "enrolled_at": progress["enrollment_date"],
        "emitted": [milestone.kind for milestone in milestones],
        "last_updated": progress["recorded_at"],
    }
