"""What changed between two snapshots of a course, told for people who review a version. Pure.

Modules and lessons are the same where their `_id` is, wherever they stand: a lesson that is moved is no other lesson,
and one that is put before others does not change these. Paths are those of the newer snapshot, of what is gone those
of the older one. A field of a module or lesson (`content`, `quiz`, …) changes as a whole.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeGuard

from worker.words import counted

Document = Mapping[str, Any]
Action = Literal["add", "update", "remove"]

# Where something stands among others: the order of those that stay tells of it.
_PLACE: Final = frozenset({"_id", "order"})
# Of what was added or removed together so many are named.
_NAMED: Final = 5
# Values are shown where they say more than that they changed.
_LONGEST_VALUE: Final = 60
_LESSONS: Final = "lessons"


@dataclass(frozen=True, slots=True)
class Change:
    """One change: what was done to which path, in words."""

    action: Action
    path: str
    description: str

    @property
    def field(self) -> str:
        """The top-level field it is in."""
        return self.path.partition(".")[0]


@dataclass(frozen=True, slots=True)
class _Element:
    """A module or lesson, and the path of the list in which it stands."""

    within: str
    value: Document


@dataclass(frozen=True, slots=True)
class _Elements:
    """All of both snapshots by id: what left one list for another has moved."""

    before: Mapping[Any, _Element]
    after: Mapping[Any, _Element]


def changes(before: Document, after: Document) -> Iterator[Change]:
    """The changes from one snapshot to the next: field by field in the order of the newer one, then what is gone."""
    elements = _Elements(dict(_elements_of(before)), dict(_elements_of(after)))
    for name in _names(before, after):
        yield from _field(name, before.get(name), after.get(name), elements)


def _elements_of(holder: Document, path: str = "") -> Iterator[tuple[Any, _Element]]:
    for name, value in holder.items():
        if _is_identified(value):
            within = f"{path}{name}"
            for place, element in enumerate(value):
                yield element["_id"], _Element(within, element)
                yield from _elements_of(element, f"{within}.{place}.")


def _names(before: Document, after: Document) -> list[str]:
    return [*after, *(name for name in before if name not in after)]


def _field(path: str, before: Any, after: Any, elements: _Elements) -> Iterator[Change]:
    """A field of the course, down to the parts that are one value each."""
    if before == after:
        return
    if _both_identified(before, after):
        yield from _list(path, before or (), after or (), elements)
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in _names(before, after):
            yield from _field(f"{path}.{name}", before.get(name), after.get(name), elements)
    else:
        yield _changed(path, _noun(path), before, after)


def _list(
    path: str, before: Sequence[Document], after: Sequence[Document], elements: _Elements
) -> Iterator[Change]:
    """Elements by identity: those that are new or gone together, then what changed in each of the others."""
    added = [each for each in after if each["_id"] not in elements.before]
    if added:
        yield Change("add", path, f"{_some(path, added, elements.before)} added")
    removed = [each for each in before if each["_id"] not in elements.after]
    if removed:
        yield Change("remove", path, f"{_some(path, removed, elements.after)} removed")
    stay = {each["_id"] for each in before} & {each["_id"] for each in after}
    if _sequence(before, stay) != _sequence(after, stay):
        yield Change("update", path, f"another order of {counted(len(stay), _singular(path))}")
    yield from _each(path, after, stay, elements)


def _each(path: str, after: Sequence[Document], stay: Set[Any], elements: _Elements) -> Iterator[Change]:
    """What changed in each element, wherever it was before; of a new one, what moved into it."""
    for place, element in enumerate(after):
        here, known = f"{path}.{place}", elements.before.get(element["_id"])
        if known is None:
            for name, value in element.items():
                if _is_identified(value):
                    yield from _each(f"{here}.{name}", value, frozenset(), elements)
            continue
        if element["_id"] not in stay:
            yield Change("update", here, f"{_title(element)} moved here from {known.within}")
        yield from _element(here, known.value, element, elements)


def _element(path: str, before: Document, after: Document, elements: _Elements) -> Iterator[Change]:
    for name in _names(before, after):
        was, now, inner = before.get(name), after.get(name), f"{path}.{name}"
        if name in _PLACE or was == now:
            continue
        if _both_identified(was, now):
            yield from _list(inner, was or (), now or (), elements)
        else:
            yield _changed(inner, f"{_noun(inner)} of {_title(after)}", was, now)


def _changed(path: str, what: str, before: Any, after: Any) -> Change:
    if before is None:
        return Change("add", path, f"{what} added")
    if after is None:
        return Change("remove", path, f"{what} removed")
    return Change("update", path, f"{what} changed{_from_to(before, after)}")


def _both_identified(before: Any, after: Any) -> bool:
    """Whether both are lists of modules or lessons; one that is not there is an empty one."""
    return all(_is_identified(each) for each in (before, after) if each is not None)


def _is_identified(value: Any) -> TypeGuard[Sequence[Document]]:
    """A list of things that have an id each, and each another."""
    if not isinstance(value, list | tuple):
        return False
    ids = [each.get("_id") if isinstance(each, Mapping) else None for each in value]
    return None not in ids and len({str(each) for each in ids}) == len(ids)


def _sequence(elements: Sequence[Document], stay: Set[Any]) -> list[Any]:
    """Those that stay, in the order in which learners see them: by `order`, where they have one."""
    orders = [each.get("order") for each in elements]
    places = [order if isinstance(order, int | float) else place for place, order in enumerate(orders)]
    ordered = sorted(zip(places, range(len(elements)), strict=True))
    return [elements[place]["_id"] for _, place in ordered if elements[place]["_id"] in stay]


def _some(path: str, some: Sequence[Document], others: Mapping[Any, _Element]) -> str:
    """How many they are, with lessons that `others` have not either, and the first of their titles."""
    lessons = sum(lesson["_id"] not in others for each in some for lesson in each.get(_LESSONS) or ())
    within = f" with {counted(lessons, 'lesson')}" if lessons else ""
    titles = [_title(each) for each in some[:_NAMED]]
    more = [f"{len(some) - _NAMED:,} more"] if len(some) > _NAMED else []
    return f"{counted(len(some), _singular(path))}{within} ({', '.join([*titles, *more])})"


def _singular(path: str) -> str:
    name = path.rpartition(".")[2]
    return "module" if name == "curriculum" else name.removesuffix("s")


def _title(element: Document) -> str:
    title = str(element.get("title") or element["_id"])
    return f"'{title if len(title) <= _LONGEST_VALUE else title[: _LONGEST_VALUE - 1] + '…'}'"


def _noun(path: str) -> str:
    return path.rpartition(".")[2].replace("_", " ")


def _from_to(before: Any, after: Any) -> str:
    """Both values, where they are short enough to be read in a sentence."""
    plain = (str, int, float)
    if not (isinstance(before, plain) and isinstance(after, plain)):
        return ""
    texts = str(before), str(after)
    return "" if max(map(len, texts)) > _LONGEST_VALUE else f" from {texts[0]} to {texts[1]}"
