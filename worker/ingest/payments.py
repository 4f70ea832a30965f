"""What follows from stored enrolments: the payment that one names becomes an event of its transaction's stream.

It is made of what is stored, not of the record: an enrolment that is a conflict, is refused or is erased has none.
The offset is acknowledged when both are stored. After a kill between the two the record comes again, its enrolment is
found stored, and the payment follows then.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from worker.contract.enrolment_payments import names_payment, payment_event
from worker.contract.event import Event
from worker.contract.rejection import Rejected
from worker.contract.reserved import is_reserved
from worker.ingest.enrich.stamps import NO_STAMPS
from worker.ingest.event_store import EventStore
from worker.ingest.record import Candidate, DeadLetter, Stored
from worker.storage.database import Document

log = structlog.get_logger(__name__)

Pause = Callable[[int], Awaitable[None]]
"""Waits before a round of so many: one that meets a write which no majority has yet would meet it at once again."""


@dataclass(slots=True)
class PaymentsStored:
    """How many payments were stored now; `refused` are those that the contract or the store would not take."""

    stored: int = 0
    holes_filled: int = 0
    refused: list[DeadLetter] = field(default_factory=list)


async def store_payments(
    events: EventStore, enrolments: Iterable[Stored], *, recorded_at: datetime, pause: Pause
) -> PaymentsStored:
    """Store the payments of those events that are enrolments and name one, each once. May run twice: `_id` decides.

    Raises Retryable when MongoDB gives no answer. The canary's learners pay nothing.
    """
    done = PaymentsStored()
    pending = payments_of(enrolments, done.refused)
    await append_once(events, pending, done, recorded_at=recorded_at, pause=pause)
    return done


async def append_once(
    events: EventStore,
    candidates: Sequence[Candidate],
    done: PaymentsStored,
    *,
    recorded_at: datetime,
    pause: Pause,
) -> None:
    """Append those that are not stored, and note in `done` what became of them. May run twice: `_id` decides."""
    pending, rounds = candidates, 0
    while pending:
        await pause(rounds)
        known = await events.known(pending)
        new = [each for each in pending if each.event.event_id not in known]
        appended = await events.append(new, NO_STAMPS, recorded_at)
        done.stored += len(appended.stored)
        done.holes_filled += appended.holes_filled
        done.refused += appended.refused
        pending, rounds = appended.lost_race, rounds + 1


def payments_of(enrolments: Iterable[Stored], refused: list[DeadLetter]) -> Sequence[Candidate]:
    """The payments as candidates; those that the contract would not take are `refused`."""
    named = (each for each in enrolments if names_payment(each.document))
    return made_of(named, payment_event, refused)


def made_of(
    enrolments: Iterable[Stored],
    make: Callable[[Document], Event | Rejected],
    refused: list[DeadLetter],
    *,
    behind: int = 1,
) -> list[Candidate]:
    """What follows from each: an event with a place so many `behind` its enrolment's, in the same record."""
    candidates = []
    for record, document in enrolments:
        if is_reserved(document["stream_id"]):
            continue
        source = record.source._replace(place=record.source.place + behind)
        at, event = record._replace(source=source), make(document)
        if isinstance(event, Rejected):
            log.warning("payment_refused", enrolment=str(document["_id"]), reason=event.reason.value)
            refused.append(DeadLetter(at, event, document["_id"]))
        else:
            candidates.append(Candidate(at, event))
    return candidates
