"""Matrices of cases that take one way through the code: `make test` runs one case of each kind, `make test-all` all.

Which tests are given their cases by this is the whole list of matrices that `make test` does not run in full.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

import pytest
from _pytest.mark.structures import ParameterSet

Case = TypeVar("Case")


def one_of_each(
    cases: Iterable[Case], kind: Callable[[Case], Hashable] = lambda _: None
) -> list[ParameterSet]:
    """The cases for `parametrize`, one argument each: all but the first of each kind are marked `slow`.

    A kind is what goes another way through the code; without `kind` all go the same.
    """
    seen: set[Hashable] = set()
    marked = []
    for case in cases:
        is_first = kind(case) not in seen
        seen.add(kind(case))
        marked.append(pytest.param(case, marks=() if is_first else pytest.mark.slow))
    return marked
