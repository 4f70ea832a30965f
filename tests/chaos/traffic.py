"""Simulated learners with some poison among them, and the ledger of it all, known before the first record is sent."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from tests.oracle import Entry
from worker.devstack.simulator.simulation import simulate
from worker.kafka.files import OutgoingRecord

# About one record in a thousand, each with bytes of its own.
_POISON_EVERY = 1_000


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is published, in order, and what must become of each record."""

    records: Sequence[OutgoingRecord]
    ledger: Sequence[Entry]


def traffic(seed: int, records: int) -> Traffic:
    """`records` simulated records with their duplicates and conflicts, and poison in between."""
    outgoing = list(_with_poison(simulate(seed, records).records))
    return Traffic(outgoing, list(ledger_of(outgoing)))


def _with_poison(records: Sequence[OutgoingRecord]) -> Iterator[OutgoingRecord]:
    for number, record in enumerate(records):
        if number % _POISON_EVERY == 0:
            yield OutgoingRecord(b'{"event_id": %d, "\xff' % number)
        yield record


def ledger_of(records: Sequence[OutgoingRecord]) -> Iterator[Entry]:
    """The first record of an event id is the event; others repeat it or contradict it."""
    first: dict[UUID, bytes] = {}
    for record in records:
        value = record.value or b""
        try:
            fields = json.loads(value)
        except ValueError:
            yield Entry(None, None, "poison", value, reason="not_utf8")
            continue
        event_id = UUID(fields["event_id"])
        stream = f"course_{fields['course_id']}_user_{fields['user_id']}"
        if event_id not in first:
            first[event_id] = value
            yield Entry(event_id, stream, "ok", value)
        else:
            yield Entry(event_id, stream, "duplicate" if first[event_id] == value else "conflict", value)
