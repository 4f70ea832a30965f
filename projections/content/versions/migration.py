"""Which versions learners who have begun must be moved to, as the history of a course tells."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from bson import ObjectId

from projections.content.versions.fold import stored_history, version_id


@dataclass(frozen=True, slots=True)
class Migration:
    """Learners have been given `version`, and those who have begun must be moved to the course's curriculum.

    `snapshot_id` is the `_id` in `course_versions` of the course as it was when the version was created. `event_id`
    is the deployment or rollback, `event_version` its version in the course's stream: a migration is the same where
    it is.
    """

    version: str
    snapshot_id: ObjectId
    at: datetime
    event_id: UUID
    event_version: int
    rolled_back: bool


def migrations(document: Mapping[str, Any]) -> tuple[Migration, ...]:
    """All that a document of `version_history` asks for, in the order in which learners were given the versions.

    A deployment asks for one where its version says so (`migration_required`), and whatever goes back to a version,
    rollback or deployment, where one was asked for since learners last had it. Where several follow one another, the
    version that learners have now is `current_version`.
    """
    course = document["entity_id"]
    return tuple(
        Migration(
            move.version,
            version_id(course, move.version),
            move.at,
            move.event_id,
            move.seen,
            move.rolled_back,
        )
        for move in stored_history(document).moves
        if move.migrates
    )
