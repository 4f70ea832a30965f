"""Labels of parts: all contenders that are connected have the same one, so that one read finds all of them.

A label may be that of several parts (they were connected once): then more is read than needed, and nothing else.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from bson import ObjectId

from projections.kinds import Entry

T = TypeVar("T")


@dataclass(slots=True)
class Labels:
    """`of_key`: by key the label of all that have it; `merged`: by label the one that takes its place."""

    of_key: dict[str, ObjectId] = field(default_factory=dict)
    merged: dict[ObjectId, ObjectId] = field(default_factory=dict)


def labelled(
    entries: Iterable[Entry],
    rows: Iterable[Mapping[str, Any]],
    *,
    anew: bool,
    fresh: Callable[[], ObjectId],
) -> Labels:
    """Labels for these entries beside the `rows` of contenders, as far as these still contend as they say.

    The label that most rows have is kept; who meets nobody gets a `fresh` one. `anew`: there are entries for all
    rows, so that what is not connected any more gets labels apart.
    """
    sets = Sets[Any]()
    for one in entries:
        for key in one["keys"]:
            sets.join(key, one["keys"][0])
    concerned = sets.members()
    sizes = Counter[ObjectId]()
    had: dict[str, set[ObjectId]] = {}
    for row in rows:
        if isinstance(label := row.get("part"), ObjectId):
            sizes[label] += 1
            if concerned.isdisjoint(row["keys"]):  # nearly all of a large part
                continue
            for key in concerned.intersection(keys_of(row)):
                had.setdefault(key, set()).add(label)
    if not anew:
        for key, labels in had.items():
            for label in labels:
                sets.join(key, label)
    return _chosen(sets, had, sizes, fresh)


def keys_of(row: Mapping[str, Any]) -> list[str]:
    """The keys that a contender was noted with, as far as they are any."""
    keys = row.get("keys")
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []


class Sets(Generic[T]):
    """Things that belong together, joined two by two."""

    def __init__(self) -> None:
        self._above: dict[T, T] = {}

    def members(self) -> set[T]:
        return set(self._above)

    def join(self, one: T, other: T) -> None:
        self._above[self._top(one)] = self._top(other)

    def all(self) -> list[list[T]]:
        found: dict[T, list[T]] = {}
        for one in list(self._above):
            found.setdefault(self._top(one), []).append(one)
        return list(found.values())

    def _top(self, one: T) -> T:
        while (above := self._above.setdefault(one, one)) != one:
            self._above[one] = above = self._above[above]
            one = above
        return one


def _chosen(
    sets: Sets[Any],
    had: Mapping[str, set[ObjectId]],
    sizes: Mapping[ObjectId, int],
    fresh: Callable[[], ObjectId],
) -> Labels:
    """One label for each set, the largest sets first, and no label twice."""
    result, used = Labels(), set[ObjectId]()
    for members in sorted(sets.all(), key=len, reverse=True):
        keys = [each for each in members if isinstance(each, str)]
        joined = {each for each in members if isinstance(each, ObjectId)}
        labels = joined.union(*(had.get(key, ()) for key in keys)) - used
        label = max(labels, key=lambda each: (sizes[each], each), default=None) or fresh()
        used.add(label)
        result.of_key |= dict.fromkeys(keys, label)
        result.merged |= dict.fromkeys(joined - {label}, label)
    return result
