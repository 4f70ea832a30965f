"""An accepted event as a value."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from bson import ObjectId

from worker.contract.family import LEARNER

NO_IDS: Final[Mapping[str, ObjectId]] = {}


class Event(NamedTuple):
    """One event that keeps every rule of the contract, as the producer meant it.

    `about` is what its family's streams are about: these entities have an id in every event of it, others may.
    `ids` are those beside the learner's, the course's and the lesson's, by the name of their field.
    `occurred_at` is aware, UTC, whole milliseconds. `details` is the producer's object without what is personal: free
    text is `text`, other keys are `personal`. `fingerprint` tells two records with
    one `event_id` apart, or finds them equal however they were written (see `fingerprint`).
    `schema_version` is the version after upcasting. A named tuple, because one is made of every record.
    """

    event_id: UUID
    event_type: str
    occurred_at: datetime
    user_id: ObjectId | None
    course_id: ObjectId | None
    fingerprint: bytes
    details: dict[str, Any]
    lesson_id: ObjectId | None = None
    producer: str | None = None
    session_id: str | None = None
    correlation_id: str | None = None
    device_type: str | None = None
    user_agent: str | None = None
    ip_address: str | None = None
    text: str | None = None
    value: int | float | None = None
    schema_version: int = 1
    ids: Mapping[str, ObjectId] = NO_IDS
    about: tuple[str, ...] = LEARNER
    personal: Mapping[str, Any] | None = None

    @property
    def stream_id(self) -> str:
        """The event's stream: the unit of ordering, versions and folding."""
        if self.about is LEARNER:  # nearly always, and twice as fast
            return f"course_{self.course_id}_user_{self.user_id}"
        return "_".join(f"{entity}_{self._id_of(f'{entity}_id')}" for entity in self.about)

    def _id_of(self, name: str) -> ObjectId | None:
        found: ObjectId | None = self.ids[name] if name in self.ids else getattr(self, name)
        return found
