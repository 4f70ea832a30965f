"""Known bugs of ingest, as the damage they do to a right run: invariants 1 to 4 and 8."""

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

from tests.oracle.seeded.right import derive
from tests.oracle.seeded.run import TOPIC, Run
from worker.storage.database import Document

Bug = Callable[[Run], None]


def commit_before_store(run: Run) -> None:
    """The offset was committed, then the process died: the batch is nowhere, and all that follows agrees."""
    lost = {id(each) for each in _last_of_streams(run)}
    run.events = [event for event in run.events if id(event) not in lost]
    derive(run)


def drop_on_dead_letter_failure(run: Run) -> None:
    """Keeping the letter failed, and the record was let go."""
    run.dead_letters.remove(run.dead_letter())


def conflict_taken_for_a_duplicate(run: Run) -> None:
    """Only ids are compared, never what the events say."""
    run.dead_letters.remove(run.dead_letter(conflict=True))


def position_beyond_the_batch(run: Run) -> None:
    """After an error the consumer went on behind the batch and wrote down that it had not read it."""
    event = _last_of_streams(run)[0]
    run.events.remove(event)
    derive(run)
    source = event["metadata"]["source"]
    gap = {"first_offset": source["offset"], "last_offset": source["offset"]}
    place = {"kind": "gap", "reason": "retention", "partition": source["partition"], "gap": gap}
    run.dead_letters.append({**run.dead_letter(), "_id": "t:gap", "value": None, **place})


def stored_and_quarantined(run: Run) -> None:
    """A refused batch went to the dead letters as a whole; the retry then stored what was good of it."""
    _quarantined(run, run.events[3])


def wrong_position_on_a_dead_letter(run: Run) -> None:
    """All dead letters of a batch carry the position of its first record."""
    run.dead_letter(conflict=True)["offset"] = 0


def new_id_at_the_second_try(run: Run) -> None:
    """The insert is tried again as another event, though the first try had arrived."""
    event = _last_of_streams(run)[0]
    run.events.append({**copy.deepcopy(event), "_id": uuid4(), "version": event["version"] + 1})
    derive(run)


def upsert_instead_of_insert(run: Run) -> None:
    """A later record of an event id overwrites what is stored."""
    conflict = run.entry("conflict")
    event = next(event for event in run.events if event["_id"] == conflict.event_id)
    event["occurred_at"] -= timedelta(days=30)
    event["metadata"]["timestamp"] = event["occurred_at"]
    derive(run)


def offset_of_the_time_zone_dropped(run: Run) -> None:
    """The producer's local time is stored as if it were UTC."""
    event = run.event("complete")
    event["occurred_at"] += timedelta(hours=2)
    derive(run)


def numbers_through_floats(run: Run) -> None:
    """A whole number becomes a double on the way, and its fingerprint another."""
    event = next(each for each in run.events if type(each["event_data"].get("value")) is int)
    event["event_data"]["value"] = float(event["event_data"]["value"])
    derive(run)


def duplicate_in_one_batch(run: Run) -> None:
    """Duplicates are looked for in the store only, and the unique `_id` is missing."""
    event = _last_of_streams(run)[0]
    run.events.append({**copy.deepcopy(event), "version": event["version"] + 1})
    derive(run)


def version_without_guard(run: Run) -> None:
    """Two workers read the same highest version, and no unique index stops the second."""
    for event in _last_of_streams(run)[:1]:
        event["version"] -= 1


def hole_left(run: Run) -> None:
    """An insert was refused in the middle of a batch, and nobody put a void there."""
    run.events.remove(run.event("void"))


def retried_behind_its_successor(run: Run) -> None:
    """One event of a batch is tried again after the others were stored."""
    stream = run.stream(run.events[0]["stream_id"])
    stream[-1]["version"], stream[-2]["version"] = stream[-2]["version"], stream[-1]["version"]
    derive(run)


def plain_insert_after_redelivery(run: Run) -> None:
    """The batch came again, and its rows were inserted again."""
    run.rows += copy.deepcopy(run.rows[-20:])


def redelivery_taken_for_a_duplicate(run: Run) -> None:
    """The events were stored before the crash, so their rows are believed to be there, too."""
    del run.rows[40:60]


def zombie_row(run: Run) -> None:
    """A worker that had lost its partition wrote the row of an event another one stored under a new id."""
    run.rows.append({**run.rows[5], "_id": uuid4()})


def row_of_a_void(run: Run) -> None:
    """Holes are filled, and what fills them is taken for learning."""
    run.rows.append({**run.rows[5], "_id": run.event("void")["_id"]})


def row_from_the_record_instead_of_the_event(run: Run) -> None:
    """The conflicting record's time stands in the row of the event it contradicts."""
    run.row(run.events[0]["_id"])["timestamp"] -= timedelta(minutes=9)


def personal_text_in_the_row(run: Run) -> None:
    """Notes of learners get where nobody can erase them."""
    event = run.event("lesson_note_saved")
    run.row(event["_id"])["details"] = {"text": event["personal"]["text"]}


def undecodable_bytes_replaced(run: Run) -> None:
    """A dead letter is kept as text."""
    dead_letter = next(each for each in run.dead_letters if each["reason"] == "not_utf8")
    dead_letter["value"] = dead_letter["value"].decode(errors="replace").encode()


def cut_at_the_limit(run: Run) -> None:
    """A value over the limit loses its end, and size and checksum are taken afterwards."""
    dead_letter = run.dead_letter()
    dead_letter["value"] = dead_letter["value"][:-1]
    dead_letter["size_bytes"] -= 1
    dead_letter["payload_sha256"] = hashlib.sha256(dead_letter["value"]).digest()


def neighbours_of_poison_quarantined(run: Run) -> None:
    """A batch that the server refuses is given up as a whole."""
    event = _last_of_streams(run)[0]
    run.events.remove(event)
    derive(run)
    _quarantined(run, event)


def every_refusal_is_invalid(run: Run) -> None:
    """The reason is lost on the way."""
    run.dead_letter()["reason"] = "invalid_field"


def random_dead_letter_ids(run: Run) -> None:
    """A redelivered record is set aside a second time."""
    run.dead_letters.append({**run.dead_letter(), "_id": f"{TOPIC}:{uuid4()}"})


def part_lost(run: Run) -> None:
    """A large value was kept without its last part."""
    dead_letter = run.dead_letter()
    half = {"kind": "part", "part_of": dead_letter["_id"], "_id": f"{dead_letter['_id']}#1", "part": 1}
    run.dead_letters.append(
        {**half, "value": dead_letter["value"][:5], "created_at": dead_letter["created_at"]}
    )
    dead_letter |= {"value": None, "parts": 2}


def headers_dropped(run: Run) -> None:
    """A dead letter says nothing of the record's headers."""
    dead_letter = run.dead_letter()
    place = dead_letter["partition"], dead_letter["offset"]
    run.log = [
        replace(each, headers=(("trace", b"1"),)) if (each.partition, each.offset) == place else each
        for each in run.log
    ]


def trace_of_the_record_before(run: Run) -> None:
    """The headers of one record are kept with the event of the next one."""
    traced = next(event for event in run.events if "traceparent" in event["metadata"])
    plain = next(event for event in run.events if "traceparent" not in event["metadata"])
    plain["metadata"]["traceparent"] = traced["metadata"].pop("traceparent")


def stamped_by_another_course(run: Run) -> None:
    """The stamps of a batch were given to the events by their place, not by their course."""
    run.owned = frozenset({"courses"})
    event = next(each for each in run.events if "_user_" in each["stream_id"])
    event["curriculum"] = {"version": "9.0"}


INGEST: Mapping[int, Sequence[Bug]] = {
    1: (
        commit_before_store,
        drop_on_dead_letter_failure,
        conflict_taken_for_a_duplicate,
        position_beyond_the_batch,
        stored_and_quarantined,
        wrong_position_on_a_dead_letter,
    ),
    2: (
        commit_before_store,
        new_id_at_the_second_try,
        upsert_instead_of_insert,
        offset_of_the_time_zone_dropped,
        numbers_through_floats,
        duplicate_in_one_batch,
        trace_of_the_record_before,
        stamped_by_another_course,
    ),
    3: (version_without_guard, hole_left, retried_behind_its_successor),
    4: (
        plain_insert_after_redelivery,
        redelivery_taken_for_a_duplicate,
        zombie_row,
        row_of_a_void,
        row_from_the_record_instead_of_the_event,
        personal_text_in_the_row,
    ),
    8: (
        drop_on_dead_letter_failure,
        undecodable_bytes_replaced,
        cut_at_the_limit,
        neighbours_of_poison_quarantined,
        every_refusal_is_invalid,
        random_dead_letter_ids,
        part_lost,
        headers_dropped,
    ),
}
"""Each bug under the invariant it belongs to; some belong to two."""


def _last_of_streams(run: Run) -> Sequence[Document]:
    """The last event of every stream: without it versions stay dense."""
    return [run.stream(stream)[-1] for stream in sorted({event["stream_id"] for event in run.events})]


def _quarantined(run: Run, event: Document) -> None:
    source = event["metadata"]["source"]
    place = {name: source[name] for name in ("partition", "offset")}
    value = next(entry.value for entry in run.ledger if entry.event_id == event["_id"])
    digest, size = hashlib.sha256(value).digest(), len(value)
    kept = {"value": value, "size_bytes": size, "payload_sha256": digest, "reason": "refused_by_store"}
    key = next(each.key for each in run.log if (each.partition, each.offset) == tuple(place.values()))
    run.dead_letters.append({**run.dead_letter(), **place, **kept, "key": key, "_id": f"{TOPIC}:set aside"})
