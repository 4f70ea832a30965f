"""What the worker's document says otherwise than the record it takes the place of, by path and without values."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

from bson.decimal128 import Decimal128

from projections.paths import ABSENT, at, nested
from projections.progress.document import FOLDED_PATHS

# The worker shows hundredths of a percent and milliseconds.
_SAME = Decimal("0.01")
# By which fields the entries of an array are known; of any other array, by their places.
_KEYS = ("lesson_id", "verification_code")


def differing(
    record: Mapping[str, Any], document: Mapping[str, Any], owned_paths: Iterable[str] = FOLDED_PATHS
) -> list[str]:
    """Paths of the platform's record that say something else in the document, or are not there, each once.

    Only of fields that the worker owns: all others stay as they are. A null says nothing. Places in arrays are `*`.
    """
    found = {path: at(record, path) for path in owned_paths}
    owned = nested({path: value for path, value in found.items() if value is not ABSENT})
    return sorted(set(_differing(owned, document, "")))


def _differing(theirs: Any, ours: Any, path: str) -> Iterator[str]:
    if theirs is None:
        return
    if path == "rating" and isinstance(ours, Mapping) and not isinstance(theirs, Mapping):
        ours = ours.get("value")
    if isinstance(theirs, Mapping):
        found = ours if isinstance(ours, Mapping) else {}
        for name, value in theirs.items():
            yield from _differing(value, found.get(name), f"{path}.{name}" if path else name)
    elif isinstance(theirs, list):
        yield from _of_entries(theirs, ours if isinstance(ours, list) else [], f"{path}.*")
    elif not _same(theirs, ours):
        yield path


def _of_entries(theirs: Sequence[Any], ours: Sequence[Any], path: str) -> Iterator[str]:
    known = {_key(place, each): each for place, each in enumerate(ours)}
    for place, each in enumerate(theirs):
        found = known.get(_key(place, each))
        if found is None:
            yield path
        else:
            yield from _differing(each, found, path)


def _key(place: int, entry: Any) -> Any:
    if isinstance(entry, Mapping):
        return next((str(entry[name]) for name in _KEYS if name in entry), place)
    return place


def _same(theirs: Any, ours: Any) -> bool:
    if isinstance(theirs, bool) or isinstance(ours, bool):
        return theirs is ours
    numbers = list(_numbers((theirs, ours)))
    if len(numbers) == 2:
        return abs(numbers[0] - numbers[1]) < _SAME
    return bool(theirs == ours)


def _numbers(values: Iterable[Any]) -> Iterator[Decimal]:
    """Those that are finite numbers, or the text of one: an amount is."""
    for value in values:
        if not isinstance(value, int | float | str | Decimal128):
            continue
        with suppress(InvalidOperation):
            number = Decimal(str(value))
            if number.is_finite():
                yield number
