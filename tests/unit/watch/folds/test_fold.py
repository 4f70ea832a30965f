"""A fold that raises costs only what lies behind the failing event."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.event import StoredEvent
from projections.kinds import By, StreamProjection
from projections.progress.projection import PROGRESS
from tests.integration.verify.history import stored_events
from worker.errors import Refused
from worker.watch.folds.fold import fold_run
from worker.watch.folds.plan import Run, Task

EVENTS = stored_events("learner", range(1, 41))
STREAM = EVENTS[0]["stream_id"]


class Counting:
    """Counts events; raises at one version, and remembers how many events it was given in all."""

    def __init__(self, fails_at: int | None = None, error: Exception | None = None) -> None:
        self.fails_at = fails_at
        self.error = error or KeyError("a learner's secret")
        self.given: list[int] = []

    def fold(
        self, current: Mapping[str, Any] | None, events: Sequence[StoredEvent], by: By
    ) -> dict[str, Any]:
        self.given.append(len(events))
        if any(event.version == self.fails_at for event in events):
            raise self.error
        return {"version": events[-1].version, "count": (current or {}).get("count", 0) + len(events)}

    def refold(self, events: Sequence[StoredEvent], keep: Mapping[str, Any] | None, by: By) -> dict[str, Any]:
        return {**self.fold(None, events, by), "kept": dict(keep or {})}

    def value(self) -> StreamProjection:
        return replace(PROGRESS, fold=self.fold, refold=self.refold)


def run(
    first: int = 1, last: int = 40, document: dict[str, Any] | None = None, *, refold: bool = False
) -> Run:
    return Run(Task(STREAM, document, first - 1, last, refold), EVENTS[first - 1 : last])


def test_a_run_is_folded_at_once() -> None:
    projection = Counting()

    folded = fold_run(projection.value(), run(), "live")

    assert (folded.fields, folded.count, folded.failure) == ({"version": 40, "count": 40}, 40, None)
    assert projection.given == [40]


@given(st.integers(1, 40))
def test_the_prefix_before_the_failing_event_is_kept(fails_at: int) -> None:
    folded = fold_run(Counting(fails_at).value(), run(), "live")

    assert folded.count == fails_at - 1
    assert (folded.fields or {}).get("version", 0) == fails_at - 1
    assert folded.failure is not None
    assert folded.failure.version == fails_at


def test_a_failure_at_the_front_costs_two_folds() -> None:
    projection = Counting(fails_at=1)

    fold_run(projection.value(), run(), "live")

    assert projection.given == [40, 1]


def test_a_failure_s_message_says_where_and_holds_no_values() -> None:
    failure = fold_run(Counting(fails_at=7).value(), run(), "live").failure

    assert failure is not None
    assert failure.error_class == "KeyError"
    assert "fold" in failure.message
    assert "secret" not in failure.message


def test_our_own_errors_keep_their_sentence() -> None:
    failure = fold_run(Counting(fails_at=7, error=Refused("too deep")).value(), run(), "live").failure

    assert failure is not None
    assert failure.message == "too deep"


def test_an_event_that_cannot_even_be_read_fails_like_a_fold() -> None:
    broken = [*EVENTS[:2], {"stream_id": STREAM, "version": 3}, *EVENTS[3:5]]

    folded = fold_run(Counting().value(), Run(Task(STREAM, None, 0, 5), broken), "live")

    assert folded.count == 2
    assert folded.failure is not None
    assert folded.failure.version == 3


def test_pages_of_one_task_are_carried_on_in_memory() -> None:
    projection = Counting()
    old = {"version": 9, "projection_version": 0}

    first = fold_run(projection.value(), run(1, 10, old, refold=True), "live")
    second = fold_run(projection.value(), run(11, 20, old, refold=True), "live", first.fields)

    assert first.fields == {"version": 10, "count": 10, "kept": old}
    assert second.fields == {"version": 20, "count": 20}


@pytest.mark.parametrize("carry", [None, {"version": 3}])
def test_nothing_to_fold_leaves_what_was_there(carry: dict[str, Any] | None) -> None:
    folded = fold_run(Counting().value(), Run(Task(STREAM, None, 0, 3), [], short=True), "live", carry)

    assert (folded.fields, folded.count, folded.failure) == (carry, 0, None)


def test_a_list_that_is_not_stored_is_told_in_words_and_is_not_the_events_own_fault() -> None:
    """Whoever skips what never will be folded leaves it alone: it is folded once the list is back."""
    first = {**EVENTS[0], "curriculum": {"version": "1", "lesson_list": bytes(16)}}
    folded = fold_run(PROGRESS, replace(run(), events=[first, *EVENTS[1:]]), "live")
    assert folded.count == 0
    assert folded.failure is not None
    assert (folded.failure.version, folded.failure.pure) == (1, False)
    assert folded.failure.message == "the list of lessons that it names is not stored"
