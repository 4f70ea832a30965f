"""Finds records about to be published that are no valid events: the worker would make dead letters of them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from worker.contract.codec import decode_event
from worker.contract.families import PRODUCERS_TYPES
from worker.contract.limits import Limits
from worker.contract.rejection import Rejected
from worker.kafka.files import OutgoingRecord, UnreadableLine

# Enough to see what is wrong with a file; the wrong file may have millions of lines.
EXAMPLES_KEPT = 20


@dataclass(slots=True)
class Checked:
    """What was seen so far: records, those that are no valid events by reason, and the first of them."""

    records: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[UnreadableLine] = field(default_factory=list)

    @property
    def invalid(self) -> int:
        return self.reasons.total()

    def look(
        self, records: Iterable[OutgoingRecord], now: datetime, limits: Limits
    ) -> Iterator[OutgoingRecord]:
        """The same records, each looked at on its way: as the worker would that reads it `now`."""
        for record in records:
            self.records += 1
            rejected = why_invalid(record, now, limits)
            if rejected is not None:
                self.reasons[rejected.reason.value] += 1
                if len(self.examples) < EXAMPLES_KEPT:
                    self.examples.append(UnreadableLine(record.line, in_line(rejected)))
            yield record


def why_invalid(record: OutgoingRecord, now: datetime, limits: Limits) -> Rejected | None:
    """Why a worker that reads the record `now` would make a dead letter of it; None for a valid event."""
    decoded = decode_event(record.value or b"", timestamp=now, limits=limits, types=PRODUCERS_TYPES)
    return decoded if isinstance(decoded, Rejected) else None


def in_line(rejected: Rejected) -> str:
    """Reason, field and message on one line."""
    what = f"{rejected.field} {rejected.message}" if rejected.field else rejected.message
    return f"{rejected.reason.value}: {what}"
