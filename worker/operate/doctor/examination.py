"""Looks for every finding, within a limit of time, and tells what it saw and where it could not look."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.errors import WorkerError
from worker.operate.doctor.finding import Finding, Seen, Severity
from worker.operate.doctor.setup import Server, Setup
from worker.words import counted

# Each command has 5 s, and a finding asks few of them.
_LOOK_S = 15.0
_ALL_S = 60.0
# A doctor that asks everything at once is a load by itself.
_BESIDE_EACH_OTHER = 4
_ORDER = {severity: place for place, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class Found:
    """One case that was seen."""

    finding: Finding
    seen: Seen

    @property
    def fix(self) -> str:
        return self.seen.fix or self.finding.fix

    def to_json(self) -> dict[str, str]:
        return {
            "finding": self.finding.name,
            "severity": str(self.finding.severity),
            "subject": self.seen.subject,
            "words": self.seen.words,
            "fix": self.fix,
        }


@dataclass(frozen=True, slots=True)
class NotLooked:
    """A finding that could not be looked for, and why."""

    finding: Finding
    reason: str

    def to_json(self) -> dict[str, str]:
        return {"finding": self.finding.name, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Report:
    """What one examination saw: the worst first, and otherwise in the order of the catalogue."""

    looked: int
    found: Sequence[Found]
    not_looked: Sequence[NotLooked]
    away: Sequence[Server]

    @property
    def ok(self) -> bool:
        """Nothing is wrong. Advice is about what could be better, and does not count."""
        return not self.away and all(each.finding.severity is Severity.ADVICE for each in self.found)

    @property
    def words(self) -> str:
        """All of it in one sentence."""
        numbers = dict.fromkeys(Severity, 0)
        for each in self.found:
            numbers[each.finding.severity] += 1
        said = [counted(number, *_NOUNS[severity]) for severity, number in numbers.items() if number]
        rest = (
            f"; {counted(len(self.not_looked), 'finding')} could not be looked for" if self.not_looked else ""
        )
        return f"{counted(self.looked, 'finding')} looked for: {', '.join(said) or 'nothing found'}{rest}."

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "looked": self.looked,
            "findings": [each.to_json() for each in self.found],
            "not_looked": [each.to_json() for each in self.not_looked],
            "away": [str(server) for server in self.away],
        }


_NOUNS: Mapping[Severity, tuple[str, str]] = {
    Severity.ERROR: ("error", "errors"),
    Severity.WARNING: ("warning", "warnings"),
    Severity.ADVICE: ("piece of advice", "pieces of advice"),
}


async def examine(setup: Setup, findings: Sequence[Finding]) -> Report:
    """Look for each of the findings; what needs a server that is away is not looked for.

    Takes a minute at most, however slowly anybody answers.
    """
    needed = sorted({server for finding in findings for server in finding.needs})
    refusals = dict(zip(needed, await asyncio.gather(*map(setup.refusal, needed)), strict=True))
    away = [server for server in needed if refusals[server] is not None]
    places = asyncio.Semaphore(_BESIDE_EACH_OTHER)
    end = asyncio.get_running_loop().time() + _ALL_S

    async def look(finding: Finding) -> Sequence[Seen] | str:
        silent = sorted(finding.needs.intersection(away))
        if silent and not finding.when_away:
            return f"{' and '.join(silent)} cannot be asked"
        async with places:
            return await _look(finding, setup, end)

    results = await asyncio.gather(*map(look, findings))
    pairs = list(zip(findings, results, strict=True))
    found = [Found(finding, seen) for finding, some in pairs if not isinstance(some, str) for seen in some]
    return Report(
        looked=sum(not isinstance(result, str) for result in results),
        found=sorted(found, key=lambda each: _ORDER[each.finding.severity]),
        not_looked=[NotLooked(finding, reason) for finding, reason in pairs if isinstance(reason, str)],
        away=away,
    )


async def _look(finding: Finding, setup: Setup, end: float) -> Sequence[Seen] | str:
    """What is seen, or why nobody could look."""
    limit = min(asyncio.get_running_loop().time() + _LOOK_S, end)
    try:
        async with asyncio.timeout_at(limit):
            return await finding.look(setup)
    except TimeoutError:
        return "no answer in time"
    except WorkerError as error:
        return str(error)
