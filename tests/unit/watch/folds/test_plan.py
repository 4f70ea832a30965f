"""What a round does with each dirty stream."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from worker.watch.folds.plan import Run, Task, changed, needed, plan_round, run_of

VERSION = 3


def document(version: int, projection_version: int = VERSION) -> dict[str, Any]:
    return {"version": version, "projection_version": projection_version, "rev": 1}


def events(*versions: int) -> list[dict[str, Any]]:
    return [{"version": version} for version in versions]


def test_a_stream_without_a_document_is_folded_from_its_first_event() -> None:
    assert needed("s", 4, None, VERSION) == Task("s", None, 0, 4)


def test_a_document_is_folded_on_from_its_version() -> None:
    assert needed("s", 9, document(4), VERSION) == Task("s", document(4), 4, 9)


def test_a_document_that_is_there_already_needs_nothing() -> None:
    assert needed("s", 4, document(4), VERSION) is None


def test_an_older_fold_s_document_is_folded_again_and_never_less_far() -> None:
    old = document(9, VERSION - 1)

    assert needed("s", 4, old, VERSION) == Task("s", old, 0, 9, refold=True)


def test_a_document_no_fold_made_is_folded_from_the_first_event() -> None:
    assert needed("s", 2, {"rev": 1}, VERSION) == Task("s", {"rev": 1}, 0, 2, refold=True)


def test_a_newer_fold_s_document_is_left_alone_and_counted() -> None:
    plan = plan_round({"s": 9}, {"s": document(4, VERSION + 1)}, {}, VERSION, 100)

    assert (plan.tasks, plan.later, plan.stale) == ([], {}, 1)


def test_a_stream_that_failed_at_its_next_event_is_not_even_read() -> None:
    plan = plan_round({"s": 9}, {"s": document(4)}, {"s": 5}, VERSION, 100)

    assert plan.tasks == []


def test_a_stream_that_somebody_brought_past_its_failure_goes_on() -> None:
    plan = plan_round({"s": 9}, {"s": document(5)}, {"s": 5}, VERSION, 100)

    assert [task.after for task in plan.tasks] == [5]


def test_a_long_stream_is_read_a_page_a_round() -> None:
    plan = plan_round({"s": 1_000}, {}, {}, VERSION, 100)

    assert plan.tasks == [Task("s", None, 0, 100)]
    assert plan.later == {"s": 1_000}


def test_a_long_stream_that_is_folded_again_stays_whole() -> None:
    plan = plan_round({"s": 1_000}, {"s": document(1_000, 1)}, {}, VERSION, 100)

    assert [task.upto for task in plan.tasks] == [1_000]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 60))
def test_every_stream_is_folded_now_or_later_and_a_round_stays_small(heads: list[int], limit: int) -> None:
    plan = plan_round({f"s{n}": head for n, head in enumerate(heads)}, {}, {}, VERSION, limit)

    assert {task.stream for task in plan.tasks} | plan.later.keys() == {f"s{n}" for n in range(len(heads))}
    assert sum(task.events for task in plan.tasks) < 2 * limit


def test_a_run_ends_before_a_hole_and_names_it() -> None:
    task = Task("s", None, 2, 8)

    run = run_of(task, events(7, 3, 4))

    assert run == Run(task, events(3, 4), missing=range(5, 7))


def test_a_hole_at_the_front_leaves_nothing_to_fold() -> None:
    task = Task("s", None, 0, 2)

    assert run_of(task, events(2)) == Run(task, [], missing=range(1, 2))


def test_events_that_end_too_early_are_told_from_a_hole() -> None:
    task = Task("s", None, 0, 3)

    assert run_of(task, events(1, 2)) == Run(task, events(1, 2), short=True)


def test_only_paths_that_differ_are_written() -> None:
    stored = {"a": 1, "b": [1], "c": None, "platform": "x"}

    assert changed(stored, {"a": 1, "b": [1, 2], "c": None, "d": None}) == {"b": [1, 2], "d": None}
