"""What became of a platform's events: the checks of its part in a run, and what the JSON file says of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.devstack.demo.check import Check
from worker.devstack.demo.progress_check import Difference
from worker.devstack.simulator.lives.platform import DUPLICATE, OK, PlatformRecord
from worker.words import counted

STAMPS = "stamps"


@dataclass(frozen=True, slots=True)
class PlatformFindings:
    """One run's platform. `known` of its events were stored before, `stored` are now.

    `duplicates` and `dead_letters` are this run's. `expected` says by collection how many documents the ledger knows,
    `counted` how many there are, `differences` in what they differ. `stamped`: learners' events were looked at, too.
    """

    records: Sequence[PlatformRecord]
    known: int
    stored: int
    duplicates: int
    dead_letters: Mapping[str, int]
    expected: Mapping[str, int]
    counted: Mapping[str, int]
    differences: Mapping[str, Sequence[Difference]]
    stamped: bool = True

    @property
    def all_differences(self) -> list[Difference]:
        return [each for some in self.differences.values() for each in some]

    def checks(self) -> list[Check]:
        """Every statement that must hold: of the events, of each collection, and of what learners' events say."""
        checks = [self._events(), *(self._documents(name, each) for name, each in self.expected.items())]
        return [*checks, self._stamps()] if self.stamped else checks

    def to_json(self) -> dict[str, Any]:
        """What the JSON file says of it."""
        return {
            "published": len(self.records),
            "stored": self.stored,
            "duplicates": self.duplicates,
            "dead_lettered": sum(self.dead_letters.values()),
            "documents": dict(self.counted),
        }

    def _events(self) -> Check:
        outcomes = Counter(record.outcome for record in self.records)
        unique, duplicates = outcomes.pop(OK, 0), outcomes.pop(DUPLICATE, 0) + self.known
        refused = ", ".join(f"{reason} {count:,}" for reason, count in sorted(outcomes.items()))
        as_foretold = (self.stored, self.duplicates, dict(self.dead_letters)) == (
            unique,
            duplicates,
            dict(outcomes),
        )
        return Check(
            "what the platform publishes is stored once, and what is wrong in it is not",
            as_foretold,
            f"{self.stored:,} of {counted(unique, 'event')}, {counted(self.duplicates, 'duplicate')} of "
            f"{duplicates:,}, {counted(sum(self.dead_letters.values()), 'dead letter')}: {refused or 'none'}",
        )

    def _documents(self, collection: str, expected: int) -> Check:
        differences = self.differences.get(collection, ())
        subjects, gone = {each.subject for each in differences}, expected - self.counted[collection]
        over = f", {gone:,} over and removed" if gone > 0 and not differences else ""
        return Check(
            f"`{collection}` has what the ledger says",
            not differences,
            f"{counted(expected, 'document')}, {len(subjects):,} differ{over}",
        )

    def _stamps(self) -> Check:
        differences = self.differences.get(STAMPS, ())
        return Check(
            "learners' events say which lesson of which version it was, and the time zone",
            not differences,
            f"{len(differences):,} differ",
        )
