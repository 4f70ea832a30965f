"""What a run says of itself: the numbers, the checks that decide the exit code, and the JSON file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.devstack.demo.check import Check
from worker.devstack.demo.platform_findings import PlatformFindings
from worker.devstack.demo.progress_check import Difference
from worker.devstack.demo.stored import Totals
from worker.devstack.servers.worker_process import WorkerCounts
from worker.devstack.simulator.simulation import Simulation
from worker.telemetry.labels import Outcome
from worker.verify.findings import Verification
from worker.words import counted


@dataclass(frozen=True, slots=True)
class Summary:
    """One finished run. `known` counts the simulation's events that were stored before it.

    Published, duplicates, conflicts and dead letters are this run's; conflicts are among the dead letters.
    Stored, time series, types, streams and lessons are what the collections hold afterwards. `seconds` runs
    from the first record handed to the broker until the last document was seen current. `counting` says
    that the worker counts learners, `statistics` how what follows from that differs from the ledger. `left_out`
    counts statements that have no event. All of this is of learners; `platform` is of what is published beside them.
    """

    published: int
    unreadable: int
    before: Totals
    after: Totals
    counts: WorkerCounts
    dead_letter_reasons: Mapping[str, int]
    verification: Verification
    differences: Sequence[Difference]
    simulation: Simulation | None
    known: int
    seconds: float
    left_out: int = 0
    counting: bool = False
    statistics: Sequence[Difference] = ()
    platform: PlatformFindings | None = None

    @property
    def stored_now(self) -> int:
        """Events this run added."""
        return self.after.stored - self.before.stored

    @property
    def dead_lettered(self) -> int:
        return sum(self.dead_letter_reasons.values())

    @property
    def refused_all(self) -> bool:
        """Everything that was published is no event: whoever named the file meant another one."""
        return self.published > 0 and self.dead_lettered == self.published

    @property
    def events_per_second(self) -> float:
        return self.published / self.seconds if self.seconds else 0.0

    @property
    def verified(self) -> bool:
        """True if every check holds: the exit code."""
        return all(check.holds for check in self.checks())

    def checks(self) -> list[Check]:
        """Every statement that must hold."""
        common = [self._published(), self._accounted(), self._outcomes(), self._copied(), self._verify()]
        nothing = [self._refused_all()] if self.refused_all else []
        platform = [] if self.platform is None else self.platform.checks()
        return [*nothing, *common, *self._against_simulation(), *platform]

    def to_json(self) -> dict[str, Any]:
        """The documented keys of the JSON file."""
        return {
            "published": self.published,
            "stored": self.after.stored,
            "duplicates": self.counts.of(Outcome.DUPLICATE),
            "conflicts": self.counts.of(Outcome.CONFLICT),
            "dead_lettered": self.dead_lettered,
            "dead_letter_reasons": dict(self.dead_letter_reasons),
            "time_series": self.after.time_series,
            "by_type": dict(self.after.by_type),
            "streams": self.after.streams,
            "completed_lessons": self.after.completed_lessons,
            "notifications": sum(self.after.notifications.values()),
            "seconds": round(self.seconds, 3),
            "events_per_second": round(self.events_per_second, 1),
            "verified": self.verified,
            "platform": None if self.platform is None else self.platform.to_json(),
        }

    def _published(self) -> Check:
        return Check(
            "every line was published",
            self.unreadable == 0,
            f"{self.published:,} published, {self.unreadable:,} that could not be translated"
            + (f", {self.left_out:,} left out" if self.left_out else ""),
        )

    def _refused_all(self) -> Check:
        return Check(
            "the file holds events",
            not self.refused_all,
            f"{self.dead_lettered:,} of {counted(self.published, 'line')} refused",
        )

    def _accounted(self) -> Check:
        """A record that is read again after a rebalance has two outcomes, one of them `redelivered`."""
        again = self.counts.of(Outcome.REDELIVERED)
        seen = self.counts.accounted
        return Check(
            "the worker accounts for every record, and drops none",
            self.published <= seen <= self.published + again and self.counts.dropped == 0,
            f"{counted(seen, 'outcome')}, {again:,} redelivered, {self.counts.dropped:,} dropped",
        )

    def _outcomes(self) -> Check:
        kept = self.stored_now + self.dead_lettered
        duplicates, skipped = self.counts.of(Outcome.DUPLICATE), self.counts.of(Outcome.SKIPPED)
        return Check(
            "every record is stored, a duplicate, skipped or a dead letter",
            kept + duplicates + skipped == self.published,
            f"{self.stored_now:,} stored + {counted(duplicates, 'duplicate')} + {skipped:,} skipped "
            f"+ {counted(self.dead_lettered, 'dead letter')}",
        )

    def _copied(self) -> Check:
        return Check(
            "the time series has every event once",
            self.after.time_series == self.after.stored,
            f"{counted(self.after.time_series, 'row')} for {counted(self.after.stored, 'event')}",
        )

    def _verify(self) -> Check:
        result, progress = self.verification, self.verification.of("progress")
        kinds = ", ".join(f"{kind} {count}" for kind, count in result.finding_counts.items()) or "no finding"
        uncounted = result.of("counts").behind if self.counting else 0
        streams = result.counts["streams"]
        late = (progress.behind, progress.quarantined, progress.other_version, uncounted)
        waiting = (
            f", {progress.behind:,} behind, {progress.quarantined:,} in quarantine, {uncounted:,} uncounted"
        )
        return Check(
            "`verify` folds and counts every stream again and finds the same documents",
            result.ok and not any(late),
            f"{counted(streams, 'stream')}, {kinds}{waiting if any(late) else ''}",
        )

    def _against_simulation(self) -> list[Check]:
        if self.simulation is None:
            return []
        new = self.simulation.unique - self.known
        conflicts = self.counts.of(Outcome.CONFLICT)
        learners = {difference.subject for difference in self.differences}
        return [
            Check(
                "new events, duplicates and conflicts are those the simulator made",
                (self.stored_now, conflicts) == (new, self.simulation.conflicts),
                f"{new:,} new and {counted(self.simulation.conflicts, 'conflict')} expected",
            ),
            Check(
                "every document says what the simulator's ledger says",
                not self.differences,
                f"{len(learners):,} of {counted(len(self.simulation.ledger), 'learner')} in courses differ",
            ),
            *([self._statistics(self.simulation)] if self.counting else []),
        ]

    def _statistics(self, simulation: Simulation) -> Check:
        expected, subjects = simulation.totals, {difference.subject for difference in self.statistics}
        people = counted(len(expected.learners) + len(expected.instructors), "person", "people")
        return Check(
            "statistics, outbox and billing say what the ledger says",
            not self.statistics,
            f"{counted(len(expected.courses), 'course')}, {people}; {len(subjects):,} differ",
        )


def write_json(path: Path, summary: Summary) -> None:
    """Write the summary, replacing what stood there."""
    path.write_text(json.dumps(summary.to_json(), indent=2) + "\n", encoding="utf-8")
