"""Invariant 4: the time series is a function of the event store, as a multiset, every multiplicity exactly 1."""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping

from tests.oracle.case import Case
from tests.oracle.events import canonical
from tests.oracle.finding import miscounted
from tests.oracle.reported import MIGRATED
from tests.oracle.stored import Document

_NAMES = ("user_id", "course_id", "lesson_id", "session_id", "device_type")
_OTHERS = ("interaction_type", "user_agent", "ip_address")


def rows_once(case: Case) -> Iterator[str]:
    """One row for everything that a learner does, and for no other event.

    Where rows expire, old ones may be gone.
    """
    before = case.stored.rows_gone_before
    present = Counter(row.get("_id") for row in case.stored.rows)
    wanted = Counter(
        event["_id"]
        for event in case.stored.real_events
        if "_user_" in event["stream_id"] and event["event_type"] != MIGRATED
        if before is None or event["occurred_at"] >= before or event["_id"] in present
    )
    yield from miscounted("row", wanted, present)


def row_contents(case: Case) -> Iterator[str]:
    """Each row says what its event says; free text stays in the event store."""
    events = {event["_id"]: event for event in case.stored.real_events}
    for row in case.stored.rows:
        event = events.get(row.get("_id"))
        if event is not None and _row_body(row) != _expected_row(event):
            yield f"row {row['_id']} does not say what its event says"


def _expected_row(event: Document) -> Mapping[str, Hashable]:
    data = event["event_data"]
    return {
        **{name: data.get(name) for name in _NAMES},
        "interaction_type": event["event_type"],
        "user_agent": event["personal"].get("user_agent"),
        "ip_address": event["personal"].get("ip_address"),
        "timestamp": event["occurred_at"],
        "value": data.get("value"),
        "details": canonical(data.get("details", {})),
    }


def _row_body(row: Document) -> Mapping[str, Hashable]:
    return {
        **{name: row["metadata"].get(name) for name in (*_NAMES, *_OTHERS)},
        "timestamp": row["timestamp"],
        "value": row.get("value"),
        "details": canonical(row.get("details", {})),
    }
