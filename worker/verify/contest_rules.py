"""What a contest gives each document, found a second way: straight from the documents, all of them, in their order.

Nothing here is shared with the functions that decide, so that a mistake in these is found.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from projections.claims import CLAIMS
from projections.content.relationships import CLOSES_CYCLE
from projections.kinds import Contest, Document, NoCycle


class Rule(Protocol):
    """What documents must have beside each other."""

    @property
    def whole(self) -> bool:
        """Whether a document depends on all that it is connected with; else on those of which it shares a key."""

    def expected(self, documents: Iterable[Mapping[str, Any]]) -> dict[Any, Document]:
        """What each must have in the paths of the contest; None for nothing.

        The platform's own are left out, and those that make no sense: these contend for nothing.
        """


def rule_of(contest: Contest) -> Rule:
    """The rule that a contest names."""
    rule = contest.rule
    return _NoCycles(rule) if isinstance(rule, NoCycle) else _EarliestClaims(contest.paths)


@dataclass(frozen=True, slots=True)
class _EarliestClaims:
    """Every value is given to the platform's document that has it, or else to who claimed it first."""

    paths: Sequence[str]
    whole: bool = False

    def expected(self, documents: Iterable[Mapping[str, Any]]) -> dict[Any, Document]:
        wanted: dict[Any, Document] = {}
        claims: list[tuple[datetime, bytes, Any, str, str]] = []
        taken: set[tuple[str, str]] = set()
        for document in documents:
            if not isinstance(document.get(CLAIMS), Mapping):
                taken |= {
                    (path, document[path]) for path in self.paths if isinstance(document.get(path), str)
                }
            elif (asked := self._asked(document)) is not None:
                claims += asked
                wanted[document["_id"]] = dict.fromkeys(self.paths)
        for _, _, identity, path, value in sorted(claims):
            if (path, value) not in taken:
                taken.add((path, value))
                wanted[identity][path] = value
        return wanted

    def _asked(self, document: Mapping[str, Any]) -> list[tuple[datetime, bytes, Any, str, str]] | None:
        """The claims of a document; None where they make no sense."""
        found = []
        for path in self.paths:
            match document[CLAIMS].get(path):
                case None:
                    continue
                case {"value": str(value), "at": datetime() as at, "event_id": UUID() as event_id}:
                    found.append((at, event_id.bytes, document["_id"], path, value))
                case _:
                    return None
        return found


@dataclass(frozen=True, slots=True)
class _NoCycles:
    """Edges are added one after the other; one whose child leads to its parent by then is left out."""

    rule: NoCycle
    whole: bool = True

    def expected(self, documents: Iterable[Mapping[str, Any]]) -> dict[Any, Document]:
        ours = [document for document in documents if document.get("since") is not None]
        wanted: dict[Any, Document] = {each["_id"]: {"effective": None, "reason": None} for each in ours}
        below: dict[Any, list[Any]] = defaultdict(list)
        together = _Together()
        edges = [self._edge(each) for each in ours if each.get("deleted_at") is None]
        for _, _, identity, parent, child in sorted(edge for edge in edges if edge is not None):
            # What no edge has connected yet, no way leads through.
            fits = together.joined(parent, child) or not _leads(child, parent, below)
            wanted[identity] = {"effective": fits, "reason": None if fits else CLOSES_CYCLE}
            if fits:
                below[parent].append(child)
        return wanted

    def _edge(self, document: Mapping[str, Any]) -> tuple[datetime, bytes, Any, Any, Any] | None:
        """Moment, event, `_id` and the two ends; None where they make no sense."""
        kind, *ends = (
            document.get(path) for path in (self.rule.edge_kind, self.rule.parent, self.rule.child)
        )
        match document["since"]:
            case {"at": datetime() as at, "event_id": UUID() as event_id} if all(ends):
                return at, event_id.bytes, document["_id"], (kind, ends[0]), (kind, ends[1])
        return None


class _Together:
    """Which ends are connected, by edges of any direction."""

    def __init__(self) -> None:
        self._members: dict[Any, set[Any]] = {}

    def joined(self, one: Any, other: Any) -> bool:
        """Connect two; False if they were already, or are the same."""
        first = self._members.setdefault(one, {one})
        second = self._members.setdefault(other, {other})
        if first is second:
            return False
        larger, smaller = (first, second) if len(first) >= len(second) else (second, first)
        larger |= smaller
        self._members.update(dict.fromkeys(smaller, larger))
        return True


def _leads(start: Any, end: Any, below: Mapping[Any, Sequence[Any]]) -> bool:
    waiting, seen = [start], {start}
    while waiting:
        here = waiting.pop()
        if here == end:
            return True
        news = set(below.get(here, ())) - seen
        seen |= news
        waiting += news
    return False
