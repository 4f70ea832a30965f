"""Invariant 1: every acknowledged record has exactly one outcome: stored, duplicate, conflict or dead letter."""

from collections import Counter
from collections.abc import Iterator, Mapping
from json import loads
from typing import Any
from uuid import UUID

from tests.oracle.case import Case, LogRecord
from tests.oracle.ledger import Entry
from tests.oracle.stored import Document

Position = tuple[str, int, int]


def of_the_ledger(case: Case) -> Iterator[str]:
    """Each acknowledged entry came to one end, checked by its event id and its bytes."""
    ids, kept = case.stored.ids, Counter(map(case.stored.bytes_of, case.stored.records))
    for number, entry in enumerate(case.ledger):
        if not entry.acknowledged:
            continue
        ends = _ends(entry, stored=entry.event_id in ids, quarantined=kept[entry.value] > 0)
        name = f"record {number} of the ledger ({entry.kind}, event {entry.event_id})"
        if not ends:
            yield f"{name} was acknowledged and has no outcome"
        elif len(ends) > 1:
            yield f"{name} has two outcomes: {' and '.join(ends)}"


def of_the_log(case: Case) -> Iterator[str]:
    """Each record in the log came to one end, checked by its position, too; a tombstone comes to none."""
    if case.evidence.log is None:
        return
    events = {event["_id"]: event for event in case.stored.real_events}
    dead_letters = {_dead_letter_position(dead_letter) for dead_letter in case.stored.records}
    for record in case.evidence.log.records:
        if record.value is None:
            continue
        position = (record.topic, record.partition, record.offset)
        event = events.get(_event_id(record.value))
        ends = ["dead letter"] if position in dead_letters else []
        if event is not None:
            ours = _source(event) == position
            # What is stored from another record leaves this one a duplicate, unless a letter says: a conflict.
            ends += ["stored"] if ours else [] if ends else ["duplicate"]
        if not ends:
            yield f"{_named(record)} has no outcome"
        elif len(ends) > 1:
            yield f"{_named(record)} has two outcomes: {' and '.join(ends)}"


def unread(case: Case) -> Iterator[str]:
    """No offsets were passed over, unless the log shows that nobody could have read them.

    After a log was restarted, its offsets are those of other records: `of_the_log` looks at those.
    """
    log = case.evidence.log
    places = {(each.topic, each.partition, each.offset) for each in log.records} if log else set()
    for dead_letter in case.stored.dead_letters:
        if dead_letter["kind"] == "gap":
            first, last = dead_letter["gap"]["first_offset"], dead_letter["gap"]["last_offset"]
            read_by_us = any(
                (dead_letter["topic"], dead_letter["partition"], offset) in places
                for offset in range(first, last + 1)
            )
            if log is None or (read_by_us and dead_letter["reason"] != "log_restarted"):
                yield f"dead letter {dead_letter['_id']} is a gap: records were never read"


def _ends(entry: Entry, *, stored: bool, quarantined: bool) -> list[str]:
    if entry.kind == "conflict":
        # Its event id is stored by definition, with the content of another record.
        return ["conflict"] if quarantined else []
    word = "duplicate" if entry.kind == "duplicate" else "stored"
    return [word] * stored + ["dead letter"] * quarantined


def _dead_letter_position(dead_letter: Document) -> Position:
    return dead_letter["topic"], dead_letter["partition"], dead_letter["offset"]


def _source(event: Document) -> Position | None:
    source: Mapping[str, Any] | None = event["metadata"]["source"]
    return None if source is None else (source["topic"], source["partition"], source["offset"])


def _event_id(value: bytes) -> UUID | None:
    """The id in a record's bytes, None where there is none that can be read."""
    try:
        fields = loads(value)
        return UUID(fields["event_id"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _named(record: LogRecord) -> str:
    return f"the record at {record.topic}:{record.partition}:{record.offset}"
