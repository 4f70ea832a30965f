"""One history of each kind of stream, by what it is about: `golden.json` holds what projections make of them."""

from collections.abc import Mapping, Sequence

from projections.event import StoredEvent
from projections.kinds import StreamProjection
from tests.support.accounts import golden_life
from tests.support.courses import golden_course, story
from tests.support.money import golden_promotion, golden_transaction
from tests.unit.projections.content.golden import CONTENT_HISTORIES
from tests.unit.projections.events import arrive, event, listed, migrated
from worker.contract.family import LEARNER

_LEARNER = [
    event("course_enrolled", 0, curriculum={"total_lessons": 3, "lessons": listed(1, 2, 3)}),
    event("lesson_started", 10, lesson=1, session_id="a"),
    event("view", 70, lesson=1, session_id="a", value=60, details={"time_spent": 60, "progress": 0.9}),
    event("complete", 90, lesson=1, session_id="a"),
    event("quiz_submitted", 200, lesson=2, details={"score": 66.665, "time_taken": 30.5}),
    event("assignment_graded", 300, lesson=2, value=81.5),
    event("discussion_posted", 400),
    event("lesson_note_saved", 500, lesson=1, details={"text": "note"}),
    event("course_rated", 600, value=4),
    event("progress_updated", 700, details={"new_progress": 70, "old_progress": 33, "time_spent": 5}),
    migrated(800, 1, 3, 4, 5),
]
_HISTORIES: Mapping[tuple[str, ...], Sequence[StoredEvent]] = {
    LEARNER: _LEARNER,
    ("course",): story(golden_course()),
    ("transaction",): golden_transaction(),
    ("promotion",): golden_promotion(),
    **CONTENT_HISTORIES,
    ("user",): golden_life(),
}


def history_of(projection: StreamProjection) -> Sequence[StoredEvent]:
    """The history of the streams that it folds, with versions."""
    return arrive(_HISTORIES[projection.about])
