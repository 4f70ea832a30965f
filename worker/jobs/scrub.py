"""The scrubber: `verify` as a job that takes its time, slice by slice of streams, and then everything else.

It goes on where it was interrupted, and rests after each step so that it takes its share of the CPU and no more.
What it found is in its run: the report, and the numbers that workers show as metrics.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from projections.billing import BILLING
from projections.kinds import Catalogue
from worker.jobs.budget import CpuBudget, cores
from worker.jobs.context import JobContext
from worker.jobs.job import Job, NoArguments, Outcome
from worker.jobs.mending import Mending
from worker.jobs.selected import STREAMS_A_STEP
from worker.retry.depths import SCRUB as NAME
from worker.storage.stream_selection import StreamSelection, count_streams, selected_pages
from worker.verify.dead_letters_check import restarted_partitions
from worker.verify.findings import FINDINGS_KEPT, Kind, Verification
from worker.verify.run import Checks
from worker.verify.sources import Sources

# Findings of one step that are mended; more are met when it is looked at again.
_MENDED_AT_ONCE = 10_000
_ROUNDS = 3
# The whole must be walked once a day.
_A_DAY_S = 24 * 3_600

_PARTS: Mapping[str, str] = {
    Kind.VERSION: "events",
    Kind.VOID: "events",
    Kind.EVENT: "events",
    Kind.ROW: "time_series",
    Kind.STATISTICS: "sums",
    Kind.ACTIVITY_LOG: "sums",
    Kind.NOTIFICATION: "notifications",
    Kind.PAYMENT: "billing",
    BILLING.name: "billing",
}


@dataclass(slots=True)
class Report:
    """What was found so far: numbers by kind, by part and by projection, and the first findings.

    It travels in the checkpoint; one that an older release saved has no numbers by projection.
    """

    drift: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    findings: list[dict[str, JsonValue]] = field(default_factory=list)
    projections: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any]) -> "Report":
        return cls(
            Counter(checkpoint["drift"]),
            Counter(checkpoint["kinds"]),
            list(checkpoint["findings"]),
            Counter(checkpoint.get("projections", {})),
        )

    def add(self, found: Verification, catalogue: Catalogue) -> None:
        self.kinds.update(found.finding_counts)
        for kind, faults in found.faults.items():
            self.drift[part_of(kind, catalogue)] += sum(faults.values())
            if kind in catalogue.names:
                self.projections[kind] += sum(faults.values())
        room = FINDINGS_KEPT - len(self.findings)
        self.findings += [dict(each.to_json()) for each in found.findings[:room]]

    @property
    def document(self) -> dict[str, Any]:
        return {
            "drift": dict(self.drift),
            "kinds": dict(self.kinds),
            "projections": dict(self.projections),
            "findings": self.findings,
        }


def part_of(kind: str, catalogue: Catalogue) -> str:
    """Which of the few parts of everything a kind of finding is about."""
    if kind in {each.name for each in catalogue.streams} or kind == Kind.DOCUMENT:
        return "documents"
    if kind in catalogue.names:
        return "sums"
    return _PARTS.get(kind, "other")


async def scrub(context: JobContext, _: NoArguments) -> Outcome:
    """Check every stream, and then everything else, once.

    1. a slice of streams, by the checks of `verify`  2. what is found is mended, if that is wanted  3. save the place
    and what was found  4. rest. Then one after the other the checks that need no stream.
    """
    database, settings = context.database, context.settings.scrub
    budget = CpuBudget(context.clock, settings.cpu_percent, context.ready, cores=cores())
    checkpoint = context.checkpoint or {"below": None, "phases": 0, **Report().document}
    report, step = Report.of(checkpoint), _Step(context)
    if context.checkpoint is None:
        phases = len((await Checks.opened(database)).further())
        await context.total((await count_streams(database, StreamSelection()) or 0) + phases)
    below, done = checkpoint["below"], checkpoint["phases"]
    if done == 0:
        sources = Sources(await restarted_partitions(database))
        async for page in selected_pages(database, StreamSelection(), below=below, most=STREAMS_A_STEP):
            found, counts = await step.streams(page.streams, sources)  # 1, 2
            report.add(found, database.catalogue)
            place = {"below": page.below, "phases": 0, **report.document}
            await context.advance(len(page.streams), place, **counts)  # 3
            await budget.rest()  # 4
            below = page.below
    for number in range(done, len((await Checks.opened(database)).further())):
        found, counts = await step.phase(number)
        report.add(found, database.catalogue)
        await context.advance(1, {"below": below, "phases": number + 1, **report.document}, **counts)
        await budget.rest()
    elapsed_s = (context.clock.now() - context.started_at).total_seconds()
    ok, in_time = not report.kinds, elapsed_s <= _A_DAY_S
    return {"ok": ok, "seconds": round(elapsed_s), "within_a_day": in_time, **report.document}


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of the walk: checked, mended where that is wanted, and checked again."""

    context: JobContext

    async def streams(
        self, streams: tuple[str, ...], sources: Sources
    ) -> tuple[Verification, dict[str, int]]:
        """What is wrong with these streams, their rows and their documents; and what to count."""

        async def check(known: Sources) -> Verification:
            checks = await self._checks(known)
            await checks.streams.streams(streams)
            return checks.run.tally.result()

        found = await check(sources)
        # Their records were noted by now, each of which would seem to be there twice.
        left, mended = await self._mended(found, lambda: check(Sources()))
        return left, {"events": found.counts["events"], "findings": _number(found), "mended": mended}

    async def phase(self, number: int) -> tuple[Verification, dict[str, int]]:
        """What one of the further checks finds."""

        async def check() -> Verification:
            checks = await self._checks()
            await checks.further()[number].check()
            return checks.run.tally.result()

        found = await check()
        left, mended = await self._mended(found, check)
        return left, {"findings": _number(found), "mended": mended}

    async def _checks(self, sources: Sources | None = None) -> Checks:
        return await Checks.opened(
            self.context.database, clock=self.context.clock, kept=_MENDED_AT_ONCE, sources=sources
        )

    async def _mended(
        self, found: Verification, check: Callable[[], Awaitable[Verification]]
    ) -> tuple[Verification, int]:
        """What is left once it was mended, where that is wanted, and how much is gone: round after round."""
        if found.ok or self.context.dry_run or not self.context.settings.scrub.repair:
            return found, 0
        left = found
        async with Mending.opened(self.context) as mending:
            for _ in range(_ROUNDS):
                if left.ok:
                    break
                await mending(left.findings)
                before, left = left, await check()
                if _number(left) >= _number(before):
                    break
        return left, max(0, _number(found) - _number(left))


def _number(found: Verification) -> int:
    return sum(found.finding_counts.values())


SCRUB = Job(
    name=NAME,
    arguments=NoArguments,
    run=scrub,
    about="everything that is stored, checked in a day beside everything else",
    differs=lambda outcome: not outcome.get("ok"),
)
