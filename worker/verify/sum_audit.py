"""Compares what was counted of one document with the document: values of one snapshot in, findings out, no I/O."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from projections.kinds import Sum, SumProjection
from worker.contract.reserved import is_reserved
from worker.verify.findings import CheckResult, Fault, Finding, differs, malformed, subject_of
from worker.verify.sameness import differing, same

Document = Mapping[str, Any]

_DIFFERS = "differs from its record in"


@dataclass(frozen=True, slots=True)
class Pair:
    """A document and what was counted of it, as one snapshot shows them; not both absent."""

    record: Document | None
    counted: Document | None
    quarantined: bool = False

    @property
    def identity(self) -> Any:
        """The `_id` of both."""
        return (self.record or self.counted or {}).get("_id")

    @property
    def revisions(self) -> tuple[Any, Any]:
        """What moves when the document is written or counted."""
        return (self.record or {}).get("rev"), (self.counted or {}).get("source_rev")


def check_counted(
    projection: SumProjection,
    pair: Pair,
    served: int,
    owner: Sequence[str],
    expected: Callable[[Document], Document],
) -> CheckResult:
    """Whether what was counted follows from the record.

    `served` is the newest version by which anybody counts now. The fields of `owner` are those of the record in any
    version. `expected` gives what must have been counted of a record; one that it cannot take was never counted.
    Of the canary's nothing may be.
    """
    name, source, counted = projection.name, pair.record, pair.counted
    target = projection.counted
    if counted is not None and (unshaped := malformed(target.collection, counted, target.shapes)):
        return CheckResult([unshaped])
    if source is None:
        subject, about = _subject(projection, counted or {}), (target.collection, pair.identity)
        return CheckResult(
            [Finding(name, Fault.UNKNOWN, subject, "projection without a record", about=about)]
        )
    about = (target.collection, source["_id"])
    subject, since = _subject(projection, source), source.get("recorded_at")
    if is_reserved(source.get("stream_id")):
        detail = "counted, though its ids are the canary's"
        return CheckResult([Finding(name, Fault.UNKNOWN, subject, detail, about=about)] if counted else [])
    if counted is None:
        return CheckResult(waiting=Finding(name, Fault.MISSING, subject, "not counted yet", since, about))
    made_by = counted["counts_version"]
    if made_by > projection.version:
        detail = f"counted by version {made_by}; this code is {projection.version}"
        newer = [Finding(name, Fault.NEWER, subject, detail)]
        return CheckResult(newer if made_by > served else (), other_version=True)
    revisions = f"counted at revision {counted['source_rev']} of {source['rev']}"
    if counted["source_rev"] > source["rev"]:
        return CheckResult([Finding(name, Fault.AHEAD, subject, revisions, about=about)])
    if counted["source_rev"] < source["rev"] or made_by < projection.version:
        # Whatever was counted, and by which version: whose it is does not change.
        others = [path for path in owner if counted.get(path) != source.get(path)]
        behind = Finding(name, Fault.BEHIND, subject, revisions, since, about)
        return CheckResult(list(differs(name, subject, _DIFFERS, others, about=about)), behind)
    try:
        different = differing(expected(source), counted)
    except Exception as error:  # whatever it is, it concerns this record only
        detail = f"its record cannot be counted: {type(error).__name__}"
        return CheckResult([Finding(name, Fault.DIFFERENT, subject, detail, about=about)])
    return CheckResult(list(differs(name, subject, _DIFFERS, different, about=about)))


def _subject(projection: SumProjection, document: Document) -> str:
    stream = document.get("stream_id")
    return str(stream) if stream is not None else subject_of(projection.counted.collection, document)


def check_shown(
    projection: SumProjection, total: Sum, key: Any, document: Document | None, added: Mapping[str, int]
) -> CheckResult:
    """Whether the document of the key shows what the vectors add up to; without any it may show nothing."""
    subject, expected = subject_of(total.collection, {"_id": key}), total.shown(added)
    about = (total.collection, key)
    if document is None or not any(name in document for name in expected):
        detail = "counted, but nothing shown"
        missing = Finding(projection.name, Fault.MISSING, subject, detail, about=about)
        return CheckResult(waiting=missing) if any(added.values()) else CheckResult()
    different = list(_unlike(expected, document))
    return CheckResult(
        list(differs(projection.name, subject, "differs from the sum in", different, about=about))
    )


def _unlike(expected: Mapping[str, Any], stored: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Paths of `expected` under which another value is stored; what else is stored may be somebody else's."""
    for name, value in expected.items():
        other = stored.get(name)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            yield from _unlike(value, other, f"{above}{name}.")
        elif not same(value, other) and not (other is None and same(value, 0)):
            yield f"{above}{name}"
