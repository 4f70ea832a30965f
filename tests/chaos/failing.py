"""A fold that fails on one lesson while it is live and not when it is tried again: work for the retry role."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from bson import ObjectId

from projections.event import StoredEvent
from projections.progress.projection import PROGRESS


def fail_live_on(lesson: ObjectId) -> None:
    """From now on, in this process, the first fold of an event about this lesson raises."""
    fold = PROGRESS.fold

    @functools.wraps(fold)
    def failing(current: Mapping[str, Any] | None, events: Sequence[StoredEvent], by: Any) -> dict[str, Any]:
        if by == "live" and any(event.lesson_id == lesson for event in events):
            raise ArithmeticError("this lesson fails on purpose")
        return fold(current, events, by)

    # The value is frozen and everybody holds this one: nothing else reaches them all.
    object.__setattr__(PROGRESS, "fold", failing)
