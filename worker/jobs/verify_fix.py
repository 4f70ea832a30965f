"""`verify --fix`: check everything, mend what was found through the rebuilds, and check again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from worker.jobs.context import JobContext
from worker.jobs.job import Job, JobArguments, Outcome
from worker.jobs.mending import Mending
from worker.jobs.naming import named
from worker.jobs.rebuild_time_series import told
from worker.jobs.selected import STREAMS_A_STEP
from worker.jobs.series import Mended, Named
from worker.storage.stream_selection import StreamSelection, selected_pages
from worker.verify.findings import Finding, Verification
from worker.verify.remedies import prescribe
from worker.verify.run import Checks

# What is mended in one round; more is met in the next.
_PER_ROUND = 10_000
_ROUNDS = 5
STILL_THERE = "it is found again after its repair"


class VerifyFix(JobArguments):
    """`settled`: nothing is being written, so that whatever is behind or missing is wrong."""

    settled: bool = False


async def verify_fix(context: JobContext, arguments: VerifyFix) -> Outcome:
    """Mend round after round, as long as there is less to be found each time.

    1. check everything  2. mend what was found, and note what is left and why  3. save what was done  4. check again.
    Killed anywhere, it begins with a check, which finds no more what is mended. A dry run ends after the first check.
    """
    before = await _check(context, arguments)  # 1
    if context.dry_run:
        return {**_told(before), **_prescribed(context, before)}
    mended = Mended()
    for _ in range(_ROUNDS):
        if before.ok:
            break
        async with Mending.opened(context) as mending:  # 2
            mended = await mending(before.findings)
        await context.advance(1, {}, **mended.numbers)  # 3
        after = await _check(context, arguments)  # 4
        fewer = sum(after.finding_counts.values()) < sum(before.finding_counts.values())
        before = after
        if not fewer:
            break
    return {**_told(before), **_named(_left(before.findings, mended))}


async def _check(context: JobContext, arguments: VerifyFix) -> Verification:
    """Everything, as `verify` does; between its parts it waits, or ends, if somebody wants it to."""
    database = context.database
    checks = await Checks.opened(database, quiescent=arguments.settled, clock=context.clock, kept=_PER_ROUND)
    async for page in selected_pages(database, StreamSelection(), most=STREAMS_A_STEP):
        await checks.streams.streams(page.streams)
        await context.ready()
    for phase in checks.further():
        await phase.check()
        await context.ready()
    return checks.run.tally.result()


def _told(verification: Verification) -> dict[str, JsonValue]:
    faults: Mapping[str, Any] = {kind: dict(each) for kind, each in verification.faults.items()}
    return {
        "ok": verification.ok,
        "findings": sum(verification.finding_counts.values()),
        "faults": dict(faults),
    }


def _prescribed(context: JobContext, found: Verification) -> dict[str, JsonValue]:
    """What would mend each kind of finding, with how many there are; and which would stay, and why."""
    remedies: dict[str, int] = {}
    left: list[Named] = []
    for finding in found.findings:
        prescription = prescribe(finding, context.database.catalogue)
        if prescription.remedy is None:
            left.append(Named(finding, prescription.reason))
        else:
            remedies[prescription.remedy] = remedies.get(prescription.remedy, 0) + 1
    return {"would_mend": dict(remedies), **_named(left)}


def _named(left: Sequence[Named]) -> dict[str, JsonValue]:
    """What is left: the first of it by name, and how many there are of each kind, by the reason why they stay."""
    numbers = Counter((each.finding.name, each.reason) for each in left)
    first: list[JsonValue] = named([], (dict(told(each)) for each in left))
    reasons: list[JsonValue] = [
        {"kind": kind, "reason": reason, "number": number} for (kind, reason), number in numbers.items()
    ]
    return {"left": first, "left_by_reason": reasons}


def _left(findings: Sequence[Finding], mended: Mended) -> list[Named]:
    """Why each of these findings is still there."""
    reasons = {_key(each.finding): each.reason for each in mended.left}
    return [Named(each, reasons.get(_key(each), STILL_THERE)) for each in findings]


def _key(finding: Finding) -> tuple[str, str, str]:
    return finding.name, finding.subject, finding.detail


VERIFY_FIX = Job(
    name="verify-fix",
    arguments=VerifyFix,
    run=verify_fix,
    about="what verify finds, mended through the rebuilds",
    differs=lambda outcome: not outcome.get("ok"),
)
