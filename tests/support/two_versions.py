"""A family whose contract has two versions, and stored events of both: what a change of the contract looks like."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field

from tests.integration.verify.history import an_event, record_of
from worker.contract.family import LEARNER, Family, Inlet
from worker.contract.fields import Id, Percent
from worker.contract.models import Details, Envelope
from worker.contract.upcasters import Upcasters
from worker.storage.database import Document
from worker.storage.documents import event_document
from worker.verify.upcasting import Contract

OLD, NEW = 1, 2


class SubmittedDetails(Details):
    """Version 2 says `score` in percent; version 1 said `points` of `most`."""

    score: Percent


class QuizHandedIn(Envelope):
    """In version 1 it was called `quiz_done`."""

    event_type: Literal["quiz_handed_in"]
    course_id: Id
    user_id: Id
    details: SubmittedDetails
    schema_version: Annotated[int, Field(ge=NEW, le=NEW)] = NEW


QUIZZES = Family("quizzes", Inlet.INTERACTIONS, LEARNER, MappingProxyType({"quiz_handed_in": QuizHandedIn}))


def done_becomes_handed_in(old: Mapping[str, Any]) -> dict[str, Any]:
    """From version 1 to version 2."""
    if old["event_type"] != "quiz_done":
        return dict(old)
    details = dict(old["details"])
    score = 100 * details.pop("points") / details.pop("most")
    return {**old, "event_type": "quiz_handed_in", "details": {**details, "score": score}}


UPCASTERS: Upcasters = MappingProxyType({OLD: done_becomes_handed_in})
PATHS = (
    "stream_id",
    "version",
    "event_type",
    "event_data.user_id",
    "event_data.course_id",
    "event_data.lesson_id",
    "event_data.session_id",
    "event_data.value",
    "event_data.details.points",
    "event_data.details.most",
    "event_data.details.score",
    "curriculum",
    "occurred_at",
    "recorded_at",
    "schema_version",
)
TWO_VERSIONS = Contract((QUIZZES,), UPCASTERS, {LEARNER: (PATHS,)})


def quiz(name: str, n: int, version: int = OLD, **details: Any) -> Document:
    """The learner's n-th event as a worker of this version of the contract has stored it."""
    event = an_event(name, n)._replace(
        event_type="quiz_done" if version == OLD else "quiz_handed_in",
        details=details or ({"points": 3, "most": 4} if version == OLD else {"score": 75.0}),
        lesson_id=None,
        text=None,
        schema_version=version,
    )
    return event_document(event, n, record_of(name, n), event.occurred_at, None)
