"""A long row in pieces: what one command, one query or one turn takes of it."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in their order in lists of `size`, the last of which may be shorter; none for no items."""
    remaining = iter(items)
    while chunk := list(islice(remaining, size)):
        yield chunk
