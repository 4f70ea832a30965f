"""What a run leaves or finds, told in its outcome: the first of each kind by name, all of them by their number."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")

NAMED = 100
"""Of each kind so many are named: enough to see what is wrong, in a document that a person can read."""


def named(known: Sequence[T], more: Iterable[T]) -> list[T]:
    """Those that are named already, and more of their kind while there is room."""
    return [*known, *islice(more, max(0, NAMED - len(known)))]


def name_streams(outcome: dict[str, Any], what: str, streams: Sequence[str]) -> None:
    """Name streams under `<what>_streams`, which is only there where there are any."""
    if streams:
        key = f"{what}_streams"
        outcome[key] = named(outcome.get(key, []), streams)
