"""A stream's fold event by event, for whoever asks which event did what: the projection's own functions. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from projections.counts import count_learner
from projections.counts.projection import COUNTS
from projections.event import VOID, StoredEvent
from projections.kinds import Document, StreamProjection, SumProjection
from worker.queries.fields import differing, value_at

View = Callable[[Document], Document]
"""What of the projection's document is looked at: all of it, or the row that counts it."""

# A type that no contract has: an event of it is taken by the rule for every event, and by no other.
_NO_TYPE = ""
# Who met a milestone first is no event's doing.
_WHO_MET = re.compile(r"milestones\.\w+\.by")
# What of a counted row is the place of its source, not made of events.
_PLACE = ("_id", "source_rev")


@dataclass(frozen=True, slots=True)
class Rule:
    """What changed a field: the name of a function, and the first sentence of its docstring."""

    name: str
    says: str

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "Rule":
        return cls(function.__name__.strip("_"), first_sentence(function.__doc__))


@dataclass(frozen=True)
class Step:
    """One event of a stream, and the projection's document before and after it.

    `before` the first event it is that of a stream with nothing in it: what every document begins with is no event's
    doing.
    """

    projection: StreamProjection
    event: StoredEvent
    before: Document
    after: Document

    def changes(self, path: str = "", view: View = dict) -> Iterator[tuple[str, Any]]:
        """The innermost fields at the path that the event changed, each with its value after it."""
        before, after = value_at(view(self.before), path), value_at(view(self.after), path)
        return of_events(differing(before, after, path))

    def rule(self, path: str, view: View = dict) -> Rule:
        """What changed this field: the rule for every event, where it alone would have, else that of the type."""
        if self.event.is_void:
            return Rule(VOID, first_sentence(StoredEvent.is_void.__doc__))
        rules = self.projection.rules
        if rules is None:
            return Rule(self.projection.name, first_sentence(self.projection.fold.__doc__))
        own, alone = rules.by_type.get(self.event.event_type), self._by_every_rule
        if own is None or (alone and value_at(view(alone), path) == value_at(view(self.after), path)):
            return Rule.of(rules.every)
        return Rule.of(own)

    @cached_property
    def _by_every_rule(self) -> Document | None:
        """The document if the event's type had no rule of its own; None where the fold takes no such event."""
        untyped = replace(self.event, event_type=_NO_TYPE)
        try:
            if self.event.version == 1:
                return self.projection.refold([untyped], None, "replay")
            return self.projection.fold(self.before, [untyped], "replay")
        except Exception:  # whatever a fold raises for what it does not know
            return None


class StepwiseFold:
    """Takes the events of one stream in version order, from the first one."""

    def __init__(self, projection: StreamProjection) -> None:
        self._projection = projection
        self.document: Document | None = None

    def pass_over(self, events: Sequence[StoredEvent]) -> None:
        """Take the next events at once, none of which is asked about. Raises what the fold raises."""
        if not events:
            return
        projection, before = self._projection, self.document
        self.document = (
            projection.refold(events, None, "replay")
            if before is None
            else projection.fold(before, events, "replay")
        )

    def take(self, event: StoredEvent) -> Step:
        """The next event. Raises what the fold raises, and stays where it was."""
        before, projection = self.document, self._projection
        if before is None:
            after = projection.refold([event], None, "replay")
            before = projection.refold([as_void(event)], None, "replay")
        else:
            after = projection.fold(before, [event], "replay")
        self.document = after
        return Step(projection, event, before, after)


def as_void(event: StoredEvent) -> StoredEvent:
    """Nothing of the event but its place in the stream."""
    return replace(event, event_type=VOID)


def counted_row(by: SumProjection, record: Mapping[str, Any]) -> Document:
    """What the row that counts a record says of it, as far as that follows from events."""
    if by.name != COUNTS.name:
        return {"counted": dict(by.vector(record))}
    step = count_learner({"_id": None, "rev": 0, **record}, None)
    row = {} if step is None else step.projection
    return {name: value for name, value in row.items() if name not in _PLACE}


def of_events(fields: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The fields without those that say how events were folded."""
    return ((path, value) for path, value in fields if not _WHO_MET.fullmatch(path))


def first_sentence(docstring: str | None) -> str:
    """Of a docstring; nothing for none."""
    text = " ".join((docstring or "").split())
    return text.partition(". ")[0].rstrip(".") + "." if text else ""
