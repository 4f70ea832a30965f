"""Where rows expire, the oracle misses none that is old enough, and still knows one that is there twice."""

from dataclasses import replace
from datetime import timedelta

from tests.oracle.case import Case
from tests.oracle.check import check_case
from tests.oracle.seeded.right import right_run


def _case(*, gone_after_oldest: bool) -> tuple[Case, dict[str, object]]:
    """A right run without its oldest row, where rows expire up to right after or right before its time."""
    right = right_run().case
    oldest = min(right.stored.rows, key=lambda row: row["timestamp"])
    rows = [row for row in right.stored.rows if row is not oldest]
    before = oldest["timestamp"] + timedelta(seconds=1 if gone_after_oldest else -1)
    return replace(right, stored=replace(right.stored, rows=rows, rows_gone_before=before)), oldest


def test_an_old_row_may_be_gone_and_a_younger_one_may_not() -> None:
    expired, _ = _case(gone_after_oldest=True)
    lost, _ = _case(gone_after_oldest=False)

    assert check_case(expired) == []
    assert {finding.invariant for finding in check_case(lost)} == {4}


def test_an_old_row_that_is_there_twice_is_wrong() -> None:
    case, oldest = _case(gone_after_oldest=True)
    doubled = replace(case, stored=replace(case.stored, rows=[*case.stored.rows, oldest, oldest]))

    assert {finding.invariant for finding in check_case(doubled)} == {4}
