"""What lessons, blocks and relationships have in common: they are made, changed piece by piece, and removed.

The latest word about each field counts, by (occurred_at, event_id). One that is made again after it was removed is
there again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from projections.event import StoredEvent
from projections.kinds import Document
from projections.merging import Order, Pattern, closed, converted, merge, opened, opened_stamps

State = dict[str, Any]
Register = list[Any]
"""`[at, event_id]` of an event; None before there is one."""


def order_of(event: StoredEvent) -> Order:
    """By what events of a stream are ordered, whenever they arrived."""
    return event.occurred_at, event.event_id


def latest(register: Register | None, event: StoredEvent) -> Register:
    """The later of what is known and this event."""
    order = order_of(event)
    return [*order] if register is None or tuple(register) < order else register


def earliest(register: Register | None, event: StoredEvent) -> Register:
    """The earlier of what is known and this event."""
    order = order_of(event)
    return [*order] if register is None or tuple(register) > order else register


def open_state(current: Mapping[str, Any] | None, fields: Sequence[str]) -> State:
    """The state of a document that shows what was merged under its own names."""
    if current is None:
        return {"values": {}, "stamps": {}, "first": None, "last": None, "made": None, "removed": None}
    kept = current["state"]
    values = {name: opened(current[name]) for name in fields if current[name] is not None}
    return {**kept, "values": values, "stamps": opened_stamps(kept["stamps"])}


def take(
    state: State,
    event: StoredEvent,
    fields: Sequence[str],
    *,
    details: Mapping[str, Any] | None = None,
    ids: Sequence[Pattern] = (),
    times: Sequence[Pattern] = (),
) -> None:
    """Merge what the event, or `details` in its place, says of these fields, and note when it was."""
    given = event.details if details is None else details
    said = {name: given[name] for name in fields if name in given}
    merge(state["stamps"], state["values"], converted(said, ids=ids, times=times), order_of(event))
    state["first"], state["last"] = earliest(state["first"], event), latest(state["last"], event)


def made(state: State, event: StoredEvent) -> None:
    """It is there from this event on."""
    state["made"] = latest(state["made"], event)


def removed(state: State, event: StoredEvent) -> None:
    """It is there no more from this event on."""
    state["removed"] = latest(state["removed"], event)


def has_begun(fields: Mapping[str, Any]) -> bool:
    """Whether it was ever made: what is said of it before waits."""
    return fields["state"]["made"] is not None


def is_removed(state: State) -> bool:
    """Whether the latest word is that it was removed."""
    return state["removed"] is not None and (state["made"] is None or state["made"] < state["removed"])


def shown_fields(state: State, fields: Sequence[str]) -> Document:
    """The fields merged, the dates, and the state to fold on."""
    kept = {name: value for name, value in state.items() if name != "values"}
    return {
        **{name: closed(state["values"].get(name)) for name in fields},
        "created_at": state["first"] and state["first"][0],
        "updated_at": state["last"] and state["last"][0],
        "deleted_at": state["removed"][0] if is_removed(state) else None,
        "state": {**kept, "stamps": closed_stamps(state["stamps"])},
    }


def closed_stamps(stamps: Mapping[str, Any]) -> Document:
    """Stamps in the order of their names."""
    return {
        name: [*stamps[name][:2], *(closed_stamps(fields) for fields in stamps[name][2:])]
        for name in sorted(stamps)
    }


Effect = Callable[[State, StoredEvent], None]
"""What an event of one type does to a state."""
