"""Which cases of a matrix `make test` leaves out."""

from collections.abc import Iterable

from _pytest.mark.structures import ParameterSet

from tests.support.matrices import one_of_each


def quick(cases: Iterable[ParameterSet]) -> list[object]:
    return [case.values[0] for case in cases if not case.marks]


def test_without_kinds_the_first_case_stands_for_all() -> None:
    cases = one_of_each([3, 1, 2])
    assert [case.values[0] for case in cases] == [3, 1, 2]
    assert quick(cases) == [3]
    assert {mark.name for case in cases for mark in case.marks} == {"slow"}


def test_the_first_case_of_each_kind_is_run_every_time() -> None:
    assert quick(one_of_each(["ab", "c", "de", "f"], len)) == ["ab", "c"]
