"""What an adoption says of itself: how many records became what, why not, and some of each to look at."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.adopt.outcome import SAID, Conversion, DocumentAdopted, Outcome, Reason, SetAside

# Enough to see what kind of record it is; all of them are counted.
_MOST_SAMPLES = 20
# Paths of records are the platform's own words: a hostile one could have thousands.
_MOST_PATHS = 100
_LONGEST = 200


@dataclass(slots=True)
class Report:
    """Kept in the checkpoint of the run, so that one that was killed reports all it did."""

    set_aside: dict[str, int] = field(default_factory=dict)
    samples: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    changed_samples: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> "Report":
        """The report so far, from a checkpoint."""
        known = stored or {}
        report = cls(dict(known.get("set_aside", {})))
        report.samples = {name: list(each) for name, each in known.get("samples", {}).items()}
        report.changed = {each["path"]: each["records"] for each in known.get("changed", ())}
        report.changed_samples = list(known.get("changed_samples", ()))
        return report

    def document(self) -> dict[str, Any]:
        """As it is kept: paths hold dots, which are no names of fields."""
        changed = sorted(self.changed.items(), key=lambda each: (-each[1], each[0]))
        return {
            "set_aside": dict(self.set_aside),
            "samples": self.samples,
            "changed": [{"path": path, "records": records} for path, records in changed],
            "changed_samples": self.changed_samples,
        }

    def take(self, outcomes: Iterable[Outcome | DocumentAdopted]) -> dict[str, int]:
        """Take what became of some records; returns how many became what."""
        counts: dict[str, int] = {}
        for each in outcomes:
            told = self._told(each)
            for name, number in told.items():
                counts[name] = counts.get(name, 0) + number
        return counts

    def _told(self, outcome: Outcome | DocumentAdopted) -> dict[str, int]:
        if isinstance(outcome, SetAside):
            return self._set_aside(outcome)
        if isinstance(outcome, DocumentAdopted):
            self._change(outcome.name, outcome.changed)
            return {"documents_adopted": 1, "documents_changed": int(bool(outcome.changed))}
        return self._adopted(outcome)

    def _set_aside(self, aside: SetAside) -> dict[str, int]:
        reason = aside.reason.value
        self.set_aside[reason] = self.set_aside.get(reason, 0) + 1
        samples = self.samples.setdefault(reason, [])
        if len(samples) < _MOST_SAMPLES:
            samples.append({"record": aside.name, "detail": aside.detail[:_LONGEST]})
        return {"set_aside": 1}

    def _change(self, name: str, changed: Sequence[str]) -> None:
        for path in changed:
            if path in self.changed or len(self.changed) < _MOST_PATHS:
                self.changed[path[:_LONGEST]] = self.changed.get(path[:_LONGEST], 0) + 1
        if changed and len(self.changed_samples) < _MOST_SAMPLES:
            paths = [path[:_LONGEST] for path in changed[:_MOST_SAMPLES]]
            self.changed_samples.append({"record": name, "paths": paths})

    def _adopted(self, conversion: Conversion) -> dict[str, int]:
        self._change(conversion.name, conversion.changed)
        return {
            "adopted": 1,
            "changed": int(bool(conversion.changed)),
            "merged": len(conversion.replaces) - 1,
            "lessons_outside_curriculum": conversion.foreign_lessons,
            "completed_unannounced": int(conversion.unannounced),
        }


def said(reason: str) -> str:
    """What a reason means, in a sentence."""
    return SAID[Reason(reason)]
