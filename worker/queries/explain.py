"""Which events made a learner's documents what they are: the fold of the stored events, step by step.

What is shown is what the events say. Beside it stands what the stored documents hold, where they differ.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from projections.event import StoredEvent
from projections.kinds import Document, StreamProjection
from worker.errors import without_values
from worker.queries.explained import Explained, Standing, UnknownField, documents_of, with_field
from worker.queries.fields import ABSENT
from worker.queries.stepwise import Rule, Step, StepwiseFold
from worker.queries.stream_reading import Broken, events_in_order
from worker.queries.withheld import MaskedFold, Twin
from worker.storage.database import Database
from worker.storage.skipped_versions import Skips, skips_of

# What every event changes, and nobody asks for without its name.
_ALWAYS_CHANGED: Final = frozenset(
    {"state", "version", "projection_version", "recorded_at", "last_event_version", "last_updated"}
)
# Of a longer history the last changes are kept: they say how the document came to be as it is.
MOST_CHANGES: Final = 50_000


@dataclass(frozen=True, slots=True)
class Change:
    """One field that one event changed, with its value after it. `gone`: the field is not there any more.

    `personal`: the value was made of what says who somebody is, or of somebody's own words, and is withheld.
    """

    collection: str
    field: str
    value: Any
    version: int
    event_id: UUID
    event_type: str
    occurred_at: datetime
    recorded_at: datetime
    rule: Rule
    gone: bool = False
    personal: bool = False


@dataclass(frozen=True, slots=True)
class Remark:
    """A version that is no event like the others, and what that means for the documents."""

    version: int
    kind: str
    detail: str


@dataclass(slots=True)
class Explanation:
    """What the events of a stream made of its documents: changes by version, the last ones if there are very many.

    `whole` is False where the events cannot be folded to the end, by a projection at least; `last_version` is that of
    the last event looked at.
    """

    stream: str
    asked: str | None
    events: int = 0
    last_version: int = 0
    whole: bool = True
    earlier_changes: int = 0
    changes: deque[Change] = field(default_factory=deque)
    remarks: list[Remark] = field(default_factory=list)
    documents: list[Standing] = field(default_factory=list)

    def add(self, change: Change) -> None:
        """One more change, in the place of the first one if there are too many."""
        self.changes.append(change)
        if len(self.changes) > MOST_CHANGES:
            self.changes.popleft()
            self.earlier_changes += 1


async def explain(database: Database, stream: str, asked: str | None = None) -> Explanation:
    """Which events changed the field, of the stream's documents and of the rows that count these.

    Without a field the rows are left out: what changes in them repeats what changed in the document.

    1. the documents as they are stored: read before the events, they have seen no later ones  2. event by event,
    through the projection's own fold  3. how the stored ones stand to that
    Raises `UnknownField`; Retryable while MongoDB is away.
    """
    explanation = Explanation(stream, asked)
    # 1.
    documents, path = await documents_of(database, stream), ""
    if not documents:
        raise UnknownField(
            f"the worker makes no document of {stream}: is it somebody else's, by the settings?"
        )
    if asked is not None:
        documents, path = with_field(documents, asked)
    for projection in dict.fromkeys(each.projection.name for each in documents):
        seen = [each for each in documents if each.projection.name == projection]
        # 2.
        folded, whole = await _fold(database, explanation, seen, path)
        # 3.
        last = explanation.last_version if whole else None
        for each in seen:
            document, twin = folded.get(each.version or 0, (None, Twin()))
            explanation.documents.append(each.standing(stream, last, document, twin, path))
        explanation.whole &= whole
    return explanation


async def _fold(
    database: Database, explanation: Explanation, documents: Sequence[Explained], path: str
) -> tuple[dict[int, tuple[Document, Twin]], bool]:
    """Fold the stream and note what changes in these documents.

    Returns the folds at the versions they have, with their twins, and whether all events could be folded.
    """
    projection, wanted = documents[0].projection, {each.version for each in documents}
    told = [each for each in documents if explanation.asked is not None or each.counted_by is None]
    fold, at_versions = StepwiseFold(projection), dict[int, tuple[Document, Twin]]()
    masked = MaskedFold(projection)
    explanation.events = 0
    skips = await skips_of(database, projection.name, [explanation.stream])
    in_order = events_in_order(database, explanation.stream, projection.event_paths, skips)
    async with aclosing(in_order) as events:
        async for event in events:
            if isinstance(event, Broken):
                _remark(explanation, event.version, event.kind, event.detail)
                return at_versions, False
            explanation.events += 1
            explanation.last_version = event.version
            step = _take(fold, event, explanation, projection, skips)
            if step is None:
                return at_versions, False
            masked.take(step)
            for change in _changes(step, masked.twin, told, path):
                explanation.add(change)
            if event.version in wanted:
                at_versions[event.version] = step.after, masked.twin
            if None in wanted:  # of a document that is not there: whether it should be
                at_versions[0] = step.after, masked.twin
    return at_versions, True


def _take(
    fold: StepwiseFold,
    event: StoredEvent,
    explanation: Explanation,
    projection: StreamProjection,
    skips: Skips,
) -> Step | None:
    """The step of an event; None, with a remark, where the fold raises: there the worker stands, too."""
    decision = skips.by_place.get((explanation.stream, event.version))
    if event.is_void and decision is not None:
        detail = f"{decision.who} left its event out of {projection.name}: {decision.reason}"
        _remark(explanation, event.version, "skipped", detail)
    elif event.is_void:
        _remark(explanation, event.version, "void", "it holds a version number, nothing else")
    try:
        return fold.take(event)
    except Exception as error:  # whatever a fold raises for an event
        raised = f"the fold of {projection.name} raises {without_values(error)} here"
        detail = f"{raised}: neither this event nor a later one is in the document"
        _remark(explanation, event.version, "fold_failed", detail)
        return None


def _changes(step: Step, twin: Twin, documents: Sequence[Explained], path: str) -> Iterator[Change]:
    event = step.event
    for document in documents:
        is_withheld = twin.withheld(document.view)
        for name, value in step.changes(path, document.view):
            if not path and name.partition(".")[0] in _ALWAYS_CHANGED:
                continue
            personal = is_withheld(name, value)
            yield Change(
                collection=document.collection,
                field=name,
                value=None if personal or value is ABSENT else value,
                version=event.version,
                event_id=event.event_id,
                event_type=event.event_type,
                occurred_at=event.occurred_at,
                recorded_at=event.recorded_at,
                rule=step.rule(name, document.view),
                gone=value is ABSENT,
                personal=personal,
            )


def _remark(explanation: Explanation, version: int, kind: str, detail: str) -> None:
    remark = Remark(version, kind, detail)
    if remark not in explanation.remarks:
        explanation.remarks.append(remark)
