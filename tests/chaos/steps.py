"""One record to publish, on which topic, and what must become of it; and who writes the records of one stream."""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from tests.oracle import Entry
from tests.oracle.ledger import Kind
from worker.contract.routes import USUAL_TOPICS
from worker.devstack.simulator.spelling import new_event_id, record_of, rfc_3339
from worker.kafka.files import OutgoingRecord

LEARNERS, CONTENT, ACCOUNTS, BILLING, OWN = USUAL_TOPICS
PARTITIONS: Mapping[str, int] = {LEARNERS: 4, CONTENT: 2, ACCOUNTS: 1, BILLING: 1, OWN: 1}
"""Of each topic. Those of one topic are shared evenly by two workers, whatever the others have."""

# Stands in every event, and in nobody's log; so does the domain of everybody's address.
CANARY = "SevenP-Chaos/7.7"
MAIL = "sevenp-chaos.example.com"

BEGIN = datetime(2026, 1, 5, 8, tzinfo=UTC)  # fixed: the same seed gives the same bytes on any day


@dataclass(frozen=True, slots=True)
class Step:
    """One record to publish, and what must become of it."""

    record: OutgoingRecord
    entry: Entry
    topic: str = LEARNERS


@dataclass(slots=True)
class Writer:
    """Writes the records of one stream; the events are seconds apart, from `begin` on. `ids` are its entities'."""

    random: Random
    stream: str
    ids: Mapping[str, str]
    begin: datetime
    topic: str = LEARNERS
    count: int = 0

    def ok(self, event_type: str, **fields: Any) -> Step:
        """An event that is stored."""
        return self._step("ok", self._fields(event_type, **fields))

    def again(self, step: Step) -> Step:
        """The same record once more."""
        return replace(step, entry=replace(step.entry, kind="duplicate"))

    def contradicting(self, step: Step) -> Step:
        """The same event with something else in it."""
        return self._step("conflict", {**json.loads(step.entry.value), "correlation_id": "another"})

    def poison(self, reason: str, event_type: str, **fields: Any) -> Step:
        """A record that becomes a dead letter."""
        return self._step("poison", self._fields(event_type, **fields), reason)

    def _step(self, kind: Kind, fields: dict[str, Any], reason: str | None = None) -> Step:
        record, event_id = record_of(fields), uuid.UUID(fields["event_id"])
        entry = Entry(event_id, self.stream, kind, record.value or b"", reason, acknowledged=False)
        return Step(record, entry, self.topic)

    def _fields(self, event_type: str, **fields: Any) -> dict[str, Any]:
        self.count += 1
        return {
            "event_id": str(new_event_id(self.random)),
            "event_type": event_type,
            "occurred_at": rfc_3339(self.begin + timedelta(seconds=self.count)),
            "user_agent": CANARY,
            **self.ids,
            **fields,
        }


def interleaved(random: Random, threads: Iterable[Iterator[Step]], side_by_side: int) -> Iterator[Step]:
    """So many of the threads under way at a time, each in its own order; the next one begins when one has ended."""
    coming, under_way = iter(threads), list[Iterator[Step]]()
    while True:
        while len(under_way) < side_by_side and (begun := next(coming, None)) is not None:
            under_way.append(begun)
        if not under_way:
            return
        chosen = random.randrange(len(under_way))
        step = next(under_way[chosen], None)
        if step is None:
            del under_way[chosen]
        else:
            yield step
