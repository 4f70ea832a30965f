"""Directed edges that stand, and the ways that lead along them; and which edges are still to be looked at.

A graph of what stands never has to be searched whole: a way is sought from both its ends, so that the shorter side
decides, and only edges that lie on a cycle with a new one are looked at again.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from bson import ObjectId

from projections.kinds import Entry


class Edge(NamedTuple):
    """One edge; edges are ordered by their places, of which no two are the same."""

    place: bytes
    identity: ObjectId
    parent: str
    child: str

    @classmethod
    def of(cls, identity: ObjectId, one: Entry) -> "Edge":
        """The edge of an entry, whose keys are its ends. If one event makes two edges, their ids decide."""
        keys = one["keys"]
        return cls(one["entry"] + identity.binary, identity, keys[0], keys[-1])


class Agenda:
    """Edges to be looked at, each once, the earliest first; more may be put on it while it is gone through."""

    def __init__(self, edges: Iterable[Edge]) -> None:
        self._waiting = list(edges)
        self._known = {edge.identity for edge in self._waiting}
        heapify(self._waiting)

    def look_at(self, edges: Iterable[Edge], *, behind: Edge) -> None:
        """Put those on it that come later than an edge."""
        for edge in edges:
            if edge > behind and edge.identity not in self._known:
                self._known.add(edge.identity)
                heappush(self._waiting, edge)

    def __iter__(self) -> Iterator[Edge]:
        while self._waiting:
            yield heappop(self._waiting)


class Ways:
    """The edges that stand."""

    def __init__(self) -> None:
        self._below: dict[str, dict[ObjectId, Edge]] = defaultdict(dict)
        self._above: dict[str, dict[ObjectId, Edge]] = defaultdict(dict)

    def add(self, edge: Edge) -> None:
        self._below[edge.parent][edge.identity] = edge
        self._above[edge.child][edge.identity] = edge

    def remove(self, edge: Edge) -> bool:
        """Returns whether it stood."""
        self._above[edge.child].pop(edge.identity, None)
        return self._below[edge.parent].pop(edge.identity, None) is not None

    def leads(self, start: str, end: str, *, before: bytes | None = None) -> bool:
        """Whether a way leads down from `start` to `end`; `before`: along edges of earlier places only."""
        if start == end:
            return True
        down, up = {start}, {end}
        down_next, up_next = [start], [end]
        while down_next and up_next:
            if len(down_next) <= len(up_next):
                down_next = self._step_down(down_next, down, before)
                met = not up.isdisjoint(down_next)
            else:
                up_next = self._step_up(up_next, up, before)
                met = not down.isdisjoint(up_next)
            if met:
                return True
        return False

    def between(self, start: str, end: str) -> list[Edge]:
        """All edges on ways from `start` down to `end`."""
        down, up = {start}, {end}
        some: Sequence[str] = [start]
        while some:
            some = self._step_down(some, down, None)
        some = [end]
        while some:
            some = self._step_up(some, up, None)
        both = down & up
        return [edge for node in both for edge in self._below[node].values() if edge.child in both]

    def _step_down(self, some: Sequence[str], seen: set[str], before: bytes | None) -> list[str]:
        return _new({edge.child for edge in _of(self._below, some, before)}, seen)

    def _step_up(self, some: Sequence[str], seen: set[str], before: bytes | None) -> list[str]:
        return _new({edge.parent for edge in _of(self._above, some, before)}, seen)


def _of(
    edges: Mapping[str, Mapping[ObjectId, Edge]], some: Iterable[str], before: bytes | None
) -> Iterator[Edge]:
    """The edges of these nodes, those alone that come before a place if there is one."""
    for node in some:
        if node in edges:
            for edge in edges[node].values():
                if before is None or edge.place < before:
                    yield edge


def _new(found: set[str], seen: set[str]) -> list[str]:
    """Those that were not seen yet; they are from now on."""
    found -= seen
    seen |= found
    return list(found)
