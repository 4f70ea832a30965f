"""A long row in pieces: what one command, one query or one turn takes of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in their order in lists of `size`, the last of which may be shorter; none for no items."""
    remaining = iter(items)
    while chunk := list(islice(remaining, size)):
        yield chunk


def split_by_name(
    named: Mapping[str, Iterable[T]], most: int
) -> tuple[dict[str, list[T]], dict[str, list[T]]]:
    """The first `most` of what stands under all names together, and the others; names of which nothing is left go."""
    first: dict[str, list[T]] = {}
    others: dict[str, list[T]] = {}
    for place, (name, item) in enumerate((name, item) for name, items in named.items() for item in items):
        (first if place < most else others).setdefault(name, []).append(item)
    return first, others


def chunks_within(
    items: Iterable[T], max_bytes: int, size_of: Callable[[T], int], max_items: int | None = None
) -> Iterator[list[T]]:
    """The items in their order in lists of at most `max_bytes` and `max_items`; a larger item has its own list."""
    chunk: list[T] = []
    total = 0
    for item in items:
        size = size_of(item)
        if chunk and (total + size > max_bytes or len(chunk) == max_items):
            yield chunk
            chunk, total = [], 0
        chunk.append(item)
        total += size
    if chunk:
        yield chunk
