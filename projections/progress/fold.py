"""From a learner's document and the next events of the stream to the document after them.

The same set of events gives the same document in any order of arrival, in any split into batches and with
voids anywhere; only `version`, `recorded_at` and a milestone's `by` tell how they arrived. An opening event is the
one exception: it says what came before it.
Formulas: docs/projections.md.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from projections.event import StoredEvent
from projections.kinds import By
from projections.progress.apply import apply_contained, apply_event
from projections.progress.opening import apply_uncounted, opened_state
from projections.progress.render import completed_at, percentage_before, visible_fields
from projections.progress.state import State, close_state, empty_state, open_state
from worker.contract.identity import stream_slot

PROJECTION_VERSION = 5
"""Goes up with every change of a formula or of the state: documents of an older version are folded anew."""

Document = dict[str, Any]


def contiguous(after_version: int, events: Sequence[StoredEvent]) -> Sequence[StoredEvent]:
    """The longest prefix of `events` (in version order) that goes on from `after_version` without a hole."""
    for index, event in enumerate(events):
        if event.version != after_version + index + 1:
            return events[:index]
    return events


def fold(current: Mapping[str, Any] | None, events: Sequence[StoredEvent], by: By) -> Document:
    """All fields the fold owns (`FOLDED_PATHS`) after `events`; neither argument is changed.

    `current` is the stored document of this projection version, None for a new stream; `events` are the next
    ones of the same stream, in version order, voids included. `by` is noted at milestones reached for the
    first time. Raises ValueError if the events do not follow `current`; KeyError, TypeError or ValueError for
    an event that no contract let in.
    """
    if current is not None and current["projection_version"] != PROJECTION_VERSION:
        raise ValueError(
            f"document of projection version {current['projection_version']} must be folded anew"
        )
    return _fold(current, events, (current or {}).get("milestones"), by)


def refold(events: Sequence[StoredEvent], keep: Mapping[str, Any] | None, by: By) -> Document:
    """`fold` of a whole stream from its first event.

    Milestones that `keep` (the document so far, of any projection version) already has keep their `by`.
    """
    return _fold(None, events, _kept(keep), by)


def _kept(document: Mapping[str, Any] | None) -> Document:
    """The milestones of a document that somebody else may have written to."""
    milestones = (document or {}).get("milestones")
    known = milestones if isinstance(milestones, Mapping) else {}
    return {
        kind: one
        for kind, one in known.items()
        if isinstance(one, Mapping) and one.get("by") in ("live", "replay", "retry")
    }


def _fold(
    current: Mapping[str, Any] | None,
    events: Sequence[StoredEvent],
    kept_milestones: Mapping[str, Any] | None,
    by: By,
) -> Document:
    if current is None and not events:
        raise ValueError("a stream without events has no document")
    state = empty_state() if current is None else open_state(current["state"])
    identity = _identity(current, events)
    version = 0 if current is None else current["version"]
    recorded_at = events[0].recorded_at if current is None else current["recorded_at"]
    met_by: dict[str, By] = {
        kind: one["by"] for kind, one in (kept_milestones or {}).items() if one and "by" in one
    }
    reached: Mapping[str, Document | None] | None = None
    # What a job brought is history, whoever folds it: nobody is told of a milestone that such an event met first.
    for was_brought, some in groupby(events, lambda event: event.origin is not None):
        for event in some:
            version += 1
            if event.version != version or event.stream_id != identity["stream_id"]:
                raise ValueError(
                    f"expected version {version} of {identity['stream_id']}, got {event.version}"
                )
            recorded_at = max(recorded_at, event.recorded_at)
            if event.is_opening:
                state = opened_state(state, event)
                _meet(met_by, state, "replay")
                apply_uncounted(state, event)
                _meet(met_by, state, by)
            elif not event.is_void:
                _apply(state, event)
        reached = _meet(met_by, state, "replay" if was_brought else by)
    if reached is None:
        reached = _reached(state)
    return {
        **identity,
        "version": version,
        "projection_version": PROJECTION_VERSION,
        "recorded_at": recorded_at,
        "state": close_state(state),
        **visible_fields(state),
        "milestones": {
            kind: None if one is None else {**one, "by": met_by.get(kind, by)}
            for kind, one in reached.items()
        },
        "completion_notified": reached["completed"] is not None,
    }


def _apply(state: State, event: StoredEvent) -> None:
    """Take an event, unless the record that was adopted has it."""
    opened = state.get("opened")
    until = None if opened is None else opened["counted_until"]
    if until is not None and event.occurred_at <= until:
        apply_contained(state, event)
    else:
        apply_event(state, event)


def _meet(met_by: dict[str, By], state: State, by: By) -> Mapping[str, Document | None]:
    """Note the mode in which each milestone that is reached by now was met, if it was not met before."""
    reached = _reached(state)
    for kind, one in reached.items():
        if one is not None:
            met_by.setdefault(kind, by)
    return reached


def _identity(current: Mapping[str, Any] | None, events: Sequence[StoredEvent]) -> Document:
    if current is not None:
        return {name: current[name] for name in ("stream_id", "user_id", "course_id", "slot")}
    first = events[0]
    if first.user_id is None or first.course_id is None:
        raise ValueError("an event of a learner names learner and course")
    return {
        "stream_id": first.stream_id,
        "user_id": first.user_id,
        "course_id": first.course_id,
        "slot": stream_slot(first.stream_id),
    }


def _reached(state: State) -> dict[str, Document | None]:
    """Each milestone's moment and what the percentage was at it: functions of the events alone."""
    enrolled_at, finished_at = state["enrolled_at"], completed_at(state)
    return {
        "welcome": None
        if enrolled_at is None
        else {"at": enrolled_at, "percentage": percentage_before(state, enrolled_at, finished_at)},
        "completed": None if finished_at is None else {"at": finished_at, "percentage": 100.0},
    }
