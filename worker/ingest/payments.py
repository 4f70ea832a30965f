"""What follows from stored enrolments: the payment that one names becomes an event of its transaction's stream.

It is made of what is stored, not of the record: an enrolment that is a conflict, is refused or is erased has none.
The offset is acknowledged when both are stored. After a kill between the two the record comes again, its enrolment is
found stored, and the payment follows then.

A billing row of a release before may say more than its enrolment: the platform wrote there what came of the payment.
What it wrote is heeded, whoever makes the payment an event: the job `payments`, or an enrolment that comes again.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from bson import ObjectId

from worker.contract.enrolment_payments import names_payment, payment_event, refund_event
from worker.contract.event import Event
from worker.contract.identity import foreign_object_id
from worker.contract.rejection import Rejected
from worker.contract.reserved import is_reserved
from worker.ingest.enrich.stamps import NO_STAMPS
from worker.ingest.event_store import EventStore
from worker.ingest.record import Candidate, DeadLetter, Stored
from worker.storage import reading
from worker.storage.database import Collection, Document

log = structlog.get_logger(__name__)

Pause = Callable[[int], Awaitable[None]]
"""Waits before a round of so many: one that meets a write which no majority has yet would meet it at once again."""


_REFUNDED = "refunded"
# What the platform has made of a payment's row by itself: no event of ours says so.
_UNDECIDED = ("pending", "failed")


@dataclass(slots=True)
class PaymentsStored:
    """How many payments were stored now; `refused` are those that the contract or the store would not take.

    `left` are transactions whose rows the platform has marked as pending or failed: no event is made of them.
    """

    stored: int = 0
    holes_filled: int = 0
    refused: list[DeadLetter] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


async def store_payments(
    events: EventStore, rows: Collection, enrolments: Iterable[Stored], *, recorded_at: datetime, pause: Pause
) -> PaymentsStored:
    """Store the payments of those events that are enrolments and name one, each once. May run twice: `_id` decides.

    1. what the platform has made of their `rows`  2. what it has given back, before 3. the payments
    Raises Retryable when MongoDB gives no answer. The canary's learners pay nothing.
    """
    done, paid = PaymentsStored(), [each for each in enrolments if names_payment(each.document)]
    if not paid:
        return done
    found = await marked_rows(rows, [each.document for each in paid])  # 1
    decided = [each for each in paid if found.get(row_id(each.document)) not in _UNDECIDED]
    done.left = left_undecided([each.document for each in paid], found)
    refunded = [each for each in decided if found.get(row_id(each.document)) == _REFUNDED]
    # First: a refund alone makes no row, so that one that is killed between the two still finds the platform's word.
    refunds = _made_of(refunded, refund_event, done.refused, behind=2)  # 2
    payments = _made_of(decided, payment_event, done.refused)
    for some in (refunds, payments):  # 3
        await _append_once(events, some, done, recorded_at=recorded_at, pause=pause)
    return done


async def marked_rows(rows: Collection, enrolments: Iterable[Document]) -> Mapping[ObjectId, str]:
    """The status of the rows that no event of a transaction has made yet: a release before, or the platform, has."""
    wanted = {"_id": {"$in": [row_id(each) for each in enrolments]}, "stream_id": {"$exists": False}}
    found = await reading.find(rows, wanted, {"status": 1})
    return {row["_id"]: str(row.get("status")) for row in found.documents}


def left_undecided(enrolments: Iterable[Document], marked: Mapping[ObjectId, str]) -> list[str]:
    """The transactions that these enrolments name and of whose rows no event is made."""
    return [_transaction(each) for each in enrolments if marked.get(row_id(each)) in _UNDECIDED]


def row_id(enrolment: Document) -> ObjectId:
    """The `_id` of the row of the payment that an enrolment names."""
    return foreign_object_id(_transaction(enrolment))


def _transaction(enrolment: Document) -> str:
    return str(enrolment["event_data"]["details"]["payment"]["transaction_id"])


async def _append_once(
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


def _made_of(
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
