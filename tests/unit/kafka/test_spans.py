"""Which records are read again: below what the group has committed, and still in the log; the rest is named."""

import pytest

from worker.contract.gaps import GapReason
from worker.kafka.positions import LogRange
from worker.kafka.record import Partition
from worker.kafka.spans import Span, by_rounds, plan_of, told

P0, P1 = Partition("events", 0), Partition("events", 1)
LOG = {P0: LogRange(10, 100), P1: LogRange(0, 100)}


@pytest.mark.parametrize(
    ("begin", "end", "committed", "read", "lost"),
    [
        pytest.param(20, 50, 80, (20, 50), None, id="what was asked for"),
        pytest.param(20, 90, 80, (20, 80), None, id="not what the group reads itself"),
        pytest.param(0, 50, 80, (10, 50), (0, 9), id="from the begin of the log on"),
        pytest.param(2, 8, 80, None, (2, 7), id="nothing that is still in the log"),
        pytest.param(85, 90, 80, None, None, id="nothing below the committed offset"),
        pytest.param(20, 50, None, None, None, id="nothing of a partition the group has not read"),
    ],
)
def test_a_plan_reads_what_the_group_has_done_with_and_names_what_is_gone(
    begin: int, end: int, committed: int | None, read: tuple[int, int] | None, lost: tuple[int, int] | None
) -> None:
    plan = plan_of([Span.of(P0, begin, end)], LOG, {} if committed is None else {P0: committed})
    assert [(span.next, span.end) for span in plan.spans if not span.is_done] == ([read] if read else [])
    assert plan.records == (read[1] - read[0] if read else 0)
    assert [(gap.first_offset, gap.last_offset) for gap in plan.lost] == ([lost] if lost else [])
    assert all(gap.reason is GapReason.RETENTION for gap in plan.lost)
    if lost:
        assert told(plan.lost) == f"events/0 from {lost[0]} to {lost[1]}"


def test_a_span_moves_forward_only_and_not_beyond_its_end() -> None:
    span = Span.of(P0, 10, 20)
    assert [span.read_up_to(offset).next for offset in (5, 15, 25)] == [10, 15, 20]
    assert span.read_up_to(20).is_done
    assert span.cut(15).left == 5
    assert span.cut(5).is_done


def test_spans_of_one_partition_are_read_one_after_the_other() -> None:
    first, second, other = Span.of(P0, 0, 5), Span.of(P0, 10, 15), Span.of(P1, 0, 5)
    assert list(by_rounds([first, second, other])) == [[first, other], [second]]
    assert list(by_rounds([])) == []
