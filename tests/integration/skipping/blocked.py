"""A learner whose stream is blocked by one event, and the fold that cannot take it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from projections.event import StoredEvent
from projections.kinds import By, StreamProjection
from projections.progress.projection import PROGRESS
from tests.support.progress import histories, projector, store
from worker.retry.skipping import Asked
from worker.storage.database import Database, Document

BAD = 3
"""The version of a quiz, which documents show."""


def broken(versions: Collection[int] = (BAD,)) -> StreamProjection:
    """The real fold, but for some versions at which it raises; voids it takes."""

    def fold(current: Mapping[str, Any] | None, events: Sequence[StoredEvent], by: By) -> dict[str, Any]:
        _raise_at(versions, events)
        return PROGRESS.fold(current, events, by)

    def refold(events: Sequence[StoredEvent], keep: Mapping[str, Any] | None, by: By) -> dict[str, Any]:
        _raise_at(versions, events)
        return PROGRESS.refold(events, keep, by)

    return replace(PROGRESS, fold=fold, refold=refold)


def _raise_at(versions: Collection[int], events: Sequence[StoredEvent]) -> None:
    if any(event.version in versions and not event.is_void for event in events):
        raise ArithmeticError("the fold of this event has a bug")


@dataclass(frozen=True, slots=True)
class Blocked:
    """A stored stream, quarantined at version `BAD`; `events` are all of it."""

    stream: str
    events: list[Document]

    def asked(self, version: int = BAD, who: str = "anna@ops", reason: str = "bad score") -> Asked:
        return Asked(self.stream, version, who, reason)


async def blocked(database: Database, *, events: int = 6, learner: str = "learner") -> Blocked:
    """The stream is stored, and its document stands right before the bad event."""
    [(stream, stored)] = histories(learners=1, events=events, prefix=learner).items()
    await store(database, stored)
    await projector(database, projection=broken()).project({stream: events})
    return Blocked(stream, stored)
