"""Steps 2 and 3 as pure decisions: which events are new, and which version each one takes."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from bson import ObjectId

from worker.contract.rejection import Rejected, RejectReason
from worker.contract.source import Source
from worker.ingest.record import Appended, BatchOutcome, Candidate, DeadLetter, Stored

_SAME_ID_OTHER_CONTENT = Rejected(
    RejectReason.CONFLICT, "another event with this event_id but other content came first", field="event_id"
)


class Known(NamedTuple):
    """What the event store, or an earlier record of the batch, holds under an event id."""

    fingerprint: bytes
    source: Source


@dataclass(frozen=True, slots=True)
class Sorted:
    """Every candidate in exactly one list, each list in the order of arrival."""

    new: list[Candidate] = field(default_factory=list)
    redelivered: list[Candidate] = field(default_factory=list)
    duplicates: list[Candidate] = field(default_factory=list)
    conflicts: list[DeadLetter] = field(default_factory=list)
    erased: list[Candidate] = field(default_factory=list)


def unlike(candidates: Iterable[Candidate], stored: Mapping[UUID, Known]) -> list[UUID]:
    """Ids that are stored with another fingerprint than a candidate's: the stored events have to be read."""
    return list(
        {
            event.event_id: None
            for event in (candidate.event for candidate in candidates)
            if (known := stored.get(event.event_id)) and known.fingerprint != event.fingerprint
        }
    )


def sort_candidates(
    candidates: Sequence[Candidate], stored: Mapping[UUID, Known], erased_learners: AbstractSet[ObjectId]
) -> Sorted:
    """Tell new events from redeliveries, duplicates and conflicts.

    A stored event that came from this very record is a redelivery: its row may be missing. The same event from
    another record is a duplicate and ends here, for its row belongs to the record that won the insert. The
    same id with another fingerprint is a conflict: `stored` holds fingerprints of today's form (see `unlike`).
    """
    result = Sorted()
    seen: dict[UUID, Known] = dict(stored)
    for candidate in candidates:
        event, source = candidate.event, candidate.record.source
        known = seen.get(event.event_id)
        if event.user_id in erased_learners:
            result.erased.append(candidate)
        elif known is None:
            seen[event.event_id] = Known(event.fingerprint, source)
            result.new.append(candidate)
        elif known.fingerprint != event.fingerprint:
            result.conflicts.append(DeadLetter(candidate.record, _SAME_ID_OTHER_CONTENT, event.event_id))
        elif known.source == source:
            result.redelivered.append(candidate)
        else:
            result.duplicates.append(candidate)
    return result


def undecided(
    pending: Sequence[Candidate], found: Sorted, appended: Appended, redelivered: Sequence[Stored]
) -> tuple[BatchOutcome, list[Candidate]]:
    """What became of `pending` in one round, and who has to be sorted anew, in the order of arrival.

    A duplicate or a conflict was told by an event that was stored, or by one new in this round: where that one
    was refused, or lost a race, nothing has been told. A redelivered event may have been erased meanwhile.
    """
    told_by = {candidate.event.event_id for candidate in appended.lost_race}
    told_by |= {each.event_id for each in appended.refused if each.event_id is not None}
    duplicates = [each for each in found.duplicates if each.event.event_id not in told_by]
    conflicts = [each for each in found.conflicts if each.event_id not in told_by]
    outcome = BatchOutcome(
        stored=appended.stored,
        redelivered=list(redelivered),
        duplicates=duplicates,
        erased=found.erased,
        dead_letters=[*conflicts, *appended.refused],
    )
    if not told_by and len(redelivered) == len(found.redelivered):
        return outcome, []
    decided = {each.record.source for each in [*outcome.stored, *outcome.redelivered]}
    decided |= {each.record.source for each in [*outcome.duplicates, *outcome.erased]}
    decided |= {each.record.source for each in outcome.dead_letters}
    return outcome, [candidate for candidate in pending if candidate.record.source not in decided]


def assign_versions(streams: Sequence[str], highest: Mapping[str, int]) -> list[int]:
    """Version for each event, `streams` being their streams in order of arrival: the next ones without holes."""
    reached = dict(highest)
    versions = []
    for stream in streams:
        reached[stream] = reached.get(stream, 0) + 1
        versions.append(reached[stream])
    return versions


def holes(
    planned: Sequence[tuple[str, int]], free: AbstractSet[int], taken: AbstractSet[int]
) -> list[tuple[str, int]]:
    """Versions this insert left empty, or may have, below a version that is taken, or may be.

    `planned` holds (stream, version) per document; `free` the indexes that were not inserted although their
    version was not in the way; `taken` those that were inserted now, met their version, or met their id: after a
    lost answer that is their own document, under this very version. An index can be in both.
    """
    top: dict[str, int] = {}
    for index in taken:
        stream, version = planned[index]
        top[stream] = max(version, top.get(stream, 0))
    return [planned[index] for index in sorted(free) if planned[index][1] < top.get(planned[index][0], 0)]
