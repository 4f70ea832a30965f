"""What becomes of a record that the platform kept by itself, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from bson.raw_bson import RawBSONDocument

Document = dict[str, Any]


class Reason(StrEnum):
    """Why a record is set aside: it stays where it is, and the worker leaves its learner alone."""

    UNREADABLE = "unreadable"
    UNFIT = "unfit"
    DUPLICATE = "duplicate"
    EVENTS_STORED = "events_stored"
    KNOWN = "known"
    TOO_LARGE = "too_large"
    NOT_FOLDABLE = "not_foldable"
    REFUSED = "refused"
    RESERVED = "reserved"


SAID: Mapping[Reason, str] = {
    Reason.UNREADABLE: "its bytes cannot be decoded",
    Reason.UNFIT: "a field of it makes no sense to the worker",
    Reason.DUPLICATE: "there is another record of this learner in this course: see --duplicates",
    Reason.EVENTS_STORED: "events of this learner are stored already: see --counted-until",
    Reason.KNOWN: "the worker has a record of this learner already",
    Reason.TOO_LARGE: "it, or what the worker would make of it, is too large",
    Reason.NOT_FOLDABLE: "the stored events of this learner cannot be folded",
    Reason.REFUSED: "the server refuses what the worker would make of it",
    Reason.RESERVED: "its ids are the canary's, who is counted nowhere",
}


@dataclass(frozen=True, slots=True)
class Adoption:
    """What an adoption is told.

    Events up to `counted_until` are in the platform's records; None where nobody says so. Of several records of one
    learner the `furthest` is adopted; without it they are all set aside. Milestones older than `notify_within` are
    not announced. `run` is the job's run, which every opening event names.
    """

    run: str
    notify_within: timedelta
    counted_until: datetime | None = None
    furthest: bool = False


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record that is not adopted. `name` is its `_id` as a short text; `detail` holds no value of it."""

    name: str
    reason: Reason
    detail: str
    identity: Any = None


class InTheWay(Exception):
    """One record of several stops them all by its content: which one, a smaller page tells."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Conversion:
    """A record that is adopted, and everything that is written for it in one transaction.

    `replaces` are the `_id`s of the platform's records that go. `changed` are paths that say something else
    afterwards. `foreign_lessons` are not in the course's curriculum; `unannounced`: the course is completed, and the
    platform does not say that it told the learner.
    """

    name: str
    replaces: Sequence[Any]
    stream: str
    event: Document
    document: RawBSONDocument
    counted: Document
    notifications: Sequence[Document]
    changed: Sequence[str]
    foreign_lessons: int
    unannounced: bool


@dataclass(frozen=True, slots=True)
class DocumentAdopted:
    """A document of a shared collection that is adopted: in `changed` it says something else afterwards."""

    name: str
    stream: str
    changed: Sequence[str]


Outcome = Conversion | SetAside
