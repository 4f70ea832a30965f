"""One planted damage each, many in one store: verify finds every one of them, and nothing else."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from bson import Binary, ObjectId
from bson.datetime_ms import DatetimeMS
from pymongo.asynchronous.collection import AsyncCollection

from tests.integration.verify.dead_letters import dead_letter, gap, headers_in_parts, in_parts
from tests.integration.verify.history import START, learner, store
from tests.support.clocks import ManualClock
from worker.contract.identity import stream_object_id
from worker.storage.database import Database, Document
from worker.storage.leases import group_name
from worker.verify.findings import Verification
from worker.verify.run import Checks, verify

Found = set[tuple[str, str]]
FAR = datetime(2100, 1, 1, tzinfo=UTC)
NEVER = DatetimeMS(253_402_300_800_000)  # the year 10000
EVENT = 3
"""The version of the event that is damaged: neither the enrolment nor the void."""


def found(verification: Verification) -> Found:
    return {(finding.name, finding.subject) for finding in verification.findings}


async def put(collection: AsyncCollection[Document], *documents: Document) -> None:
    """Past the validator, as a restore puts them."""
    await collection.insert_many(list(documents), bypass_document_validation=True)


async def replace_one(collection: AsyncCollection[Document], document: Document) -> None:
    await collection.replace_one({"_id": document["_id"]}, document, bypass_document_validation=True)


def at(path: str, value: Any) -> Callable[[Document], Document]:
    """The document with another value at a path."""

    def change(document: Document) -> Document:
        name, _, rest = path.partition(".")
        inner = at(rest, value)(document[name]) if rest else value
        return {**document, name: inner}

    return change


EVENTS: Mapping[str, tuple[str, Callable[[Document], Document]]] = {
    "another time in the metadata": ("event_different", at("metadata.timestamp", START)),
    "no record it came from": ("event_different", at("metadata.source", None)),
    "a fingerprint cut short": ("event_different", at("metadata.fingerprint", b"short")),
    "a schema that is not known": ("event_different", at("schema_version", 7)),
    "a type that is not known": ("event_different", at("event_type", "lesson_dreamt")),
    "recorded in the future": ("event_different", at("recorded_at", FAR)),
    "another address": ("event_fingerprint_different", at("personal.ip_address", "192.0.2.8")),
    "another producer": ("event_fingerprint_different", at("metadata.producer", "somebody")),
    "a slot of another stream": ("event_misfiled", lambda it: {**it, "slot": (it["slot"] + 1) % 256}),
    "an offset that is a double": ("document_malformed", at("metadata.source.offset", 3.0)),
    "a partition that is text": ("document_malformed", at("metadata.source.partition", "0")),
    "a slot that is a double": ("document_malformed", lambda it: {**it, "slot": float(it["slot"])}),
    "a learner that is text": ("document_malformed", at("event_data.user_id", "somebody")),
    "metadata that is text": ("document_malformed", at("metadata", "gone")),
    "a field of nobody": ("document_malformed", at("surprise", 1)),
    "no personal part": (
        "document_malformed",
        lambda it: {name: value for name, value in it.items() if name != "personal"},
    ),
}


async def test_each_damage_to_an_event_is_found_in_its_stream(database: Database) -> None:
    learners = {name: learner(name) for name in (*EVENTS, "healthy")}
    await store(database, learners.values())
    expected: Found = set()
    for name, (kind, damage) in EVENTS.items():
        event = learners[name].events[EVENT - 1]
        await replace_one(database.course_events, damage(event))
        expected.add((kind, learners[name].stream))

    verification = await verify(database, quiescent=True)

    # A type that is not known makes another row, as does an address; time and type another fold.
    another_type, later = (
        learners[name].stream for name in ("a type that is not known", "recorded in the future")
    )
    for name in ("a type that is not known", "a schema that is not known", "a fingerprint cut short"):
        expected.add(("event_fingerprint_different", learners[name].stream))
    expected |= {("row_different", stream) for stream in (another_type, learners["another address"].stream)}
    expected |= {("progress_different", stream) for stream in (another_type, later)}
    assert found(verification) == expected


async def test_a_void_with_anything_in_it_is_found(database: Database) -> None:
    learners = {name: learner(name) for name in ("source", "content", "healthy")}
    await store(database, learners.values())
    (source, content) = (learners[name].events[4] for name in ("source", "content"))
    await replace_one(
        database.course_events,
        at("metadata.source", learners["source"].events[0]["metadata"]["source"])(source),
    )
    await replace_one(database.course_events, at("event_data.value", 5)(content))

    expected = {("event_different", learners[name].stream) for name in ("source", "content")}
    assert found(await verify(database, quiescent=True)) == expected


async def test_two_events_of_one_record_are_found_unless_its_log_began_again(database: Database) -> None:
    ada, ben = learner("ada"), learner("ben")
    await store(database, [ada, ben])
    first, second = ada.events[2]["metadata"]["source"], ben.events[2]
    await replace_one(database.course_events, at("metadata.source", first)(second))

    verification = await verify(database, quiescent=True)
    assert {kind for kind, _ in found(verification)} == {"event_source_repeated"}

    await database.dead_letters.insert_one(gap("log_restarted"))
    assert (await verify(database, quiescent=True)).ok


@pytest.mark.parametrize("stream", [7, ObjectId(), None, {"course": 1}])
async def test_an_event_whose_stream_is_no_text_is_found_by_its_own_walk(
    database: Database, stream: Any
) -> None:
    """Whoever goes from stream to stream, as a scrubber does, meets none of them."""
    target = learner("vic")
    await store(database, [target, learner("ada")])
    stray = {**target.events[2], "_id": uuid4(), "stream_id": stream}
    await put(database.course_events, stray)

    assert found(await verify(database, quiescent=True)) == {
        ("document_malformed", f"course_events {stray['_id']}")
    }
    checks = await Checks.opened(database, quiescent=True)
    await checks.further()[0].check()
    assert checks.run.tally.result().finding_counts == {"document_malformed": 1}


async def test_an_event_out_of_any_stream_is_found(database: Database) -> None:
    target = learner("vic")
    await store(database, [target, learner("ada")])
    await replace_one(database.course_events, {**target.events[2], "version": 3.0})

    verification = await verify(database, quiescent=True)

    assert {kind for kind, _ in found(verification)} == {"document_malformed", "version_hole"}


@pytest.mark.parametrize("path", ["rev", "version", "projection_version", "stream_id", "user_id"])
async def test_a_record_whose_own_fields_have_other_types_is_found(database: Database, path: str) -> None:
    target = learner("vic")
    await store(database, [target, learner("ada")])
    value = target.progress[path]
    other = float(value) if isinstance(value, int) else Binary(b"?")
    await replace_one(database.user_progress, {**target.progress, path: other})

    verification = await verify(database, quiescent=True)

    assert ("document_malformed", f"user_progress {target.progress['_id']}") in found(verification)


async def test_rows_of_any_shape_are_findings(database: Database) -> None:
    await store(database, [learner("ada")])
    rows: list[Document] = [
        {"timestamp": START, "metadata": "text"},
        {"timestamp": START, "metadata": {"user_id": "text", "course_id": 5}},
        {"timestamp": START, "metadata": None, "_id": {"odd": 1}},
    ]
    await database.user_interactions.insert_many(rows)

    assert (await verify(database, quiescent=True)).finding_counts == {"row_extra": 3}


async def test_documents_nobody_can_read_are_findings(database: Database) -> None:
    ada, ben, cyd = learner("ada"), learner("ben"), learner("cyd")
    await store(database, [ada, ben, cyd])
    await database.user_interactions.insert_one({**cyd.rows[2], "details": {"never": NEVER}})
    await replace_one(database.user_progress, {**ada.progress, "last_accessed": NEVER})
    await replace_one(database.course_events, {**ben.events[2], "occurred_at": NEVER})

    verification = await verify(database, quiescent=True)

    assert verification.finding_counts["document_unreadable"] == 3


# ---- dead letters ----


DEAD_LETTERS: Mapping[str, tuple[str, Callable[[Document], Document]]] = {
    "other bytes": ("dead_letter_damaged", at("value", b"}")),
    "bytes cut short": ("dead_letter_damaged", at("value", b"")),
    "another size": ("dead_letter_damaged", at("size_bytes", 5)),
    "another checksum": ("dead_letter_damaged", at("payload_sha256", b"\0" * 32)),
    "another position": ("dead_letter_damaged", at("offset", 999)),
    "another reason": ("dead_letter_damaged", at("reason", "conflict")),
    "redriven without a date": ("dead_letter_damaged", at("redrives", 2)),
    "a gap that is none": ("dead_letter_damaged", at("kind", "gap")),
    "an offset that is a double": ("document_malformed", at("offset", 3.0)),
    "a message that is none": ("document_malformed", at("message", None)),
    "a date nobody can hold": ("document_unreadable", at("created_at", NEVER)),
}


async def test_each_damage_to_a_dead_letter_is_found(database: Database) -> None:
    expected: Found = set()
    minimal = {**dead_letter(3), "value": None, "size_bytes": 5, "without_bytes": True}
    healthy = [dead_letter(1), *in_parts(2), minimal, *headers_in_parts(4), gap("retention")]
    await put(database.dead_letters, *healthy)
    headers, part = headers_in_parts(5)
    await put(database.dead_letters, headers, {**part, "value": b"others"})
    expected.add(("dead_letter_damaged", f"dead_letters {headers['_id']}"))
    for offset, (kind, damage) in enumerate(DEAD_LETTERS.values(), start=100):
        damaged = damage(dead_letter(offset))
        await put(database.dead_letters, damaged)
        expected.add((kind, f"dead_letters {damaged['_id']}"))
    absent, other, orphan, beyond = (in_parts(offset) for offset in range(200, 204))
    await put(database.dead_letters, absent[0], absent[1])
    await put(database.dead_letters, other[0], other[1], {**other[2], "value": b"tow"})
    await put(database.dead_letters, orphan[1])
    await put(database.dead_letters, *beyond, {**beyond[2], "_id": f"{beyond[0]['_id']}#3", "part": 3})
    expected |= {("dead_letter_damaged", f"dead_letters {each[0]['_id']}") for each in (absent, other)}
    expected.add(("dead_letter_part_unknown", f"dead_letters {orphan[1]['_id']}"))
    expected.add(("dead_letter_part_unknown", f"dead_letters {beyond[0]['_id']}#3"))

    assert found(await verify(database, quiescent=True)) == expected


async def test_a_dead_letter_that_is_just_being_stored_may_wait_for_its_parts(database: Database) -> None:
    await put(database.dead_letters, in_parts(1)[0], in_parts(2)[1])

    verification = await verify(database, clock=ManualClock(START + timedelta(seconds=5)))

    assert (verification.ok, verification.counts["in_flight"]) == (True, 2)


# ---- queue, leases, positions ----


def item(stream: str, **other: Any) -> Document:
    return {
        "_id": f"progress:{stream}",
        "event_type": "progress_fold",
        "data": {},
        "status": "pending",
        "retry_count": 0,
        "created_at": START,
        "due_at": START,
        "stream_id": stream,
        "lease_owner": None,
        "lease_until": None,
        **other,
    }


ITEMS: Mapping[str, tuple[str, Callable[[Document], Document]]] = {
    "another key": ("queue_item_different", at("_id", "progress:elsewhere")),
    "no stream": ("queue_item_different", at("stream_id", None)),
    "due in 2100": ("queue_item_different", at("due_at", FAR)),
    "in hand of nobody": ("queue_item_different", at("status", "processing")),
    "completed without a date": ("queue_item_different", at("status", "completed")),
    "attempts that are a double": ("document_malformed", at("retry_count", 1.0)),
    "a date nobody can hold": ("document_unreadable", at("due_at", NEVER)),
}


async def test_each_damage_to_a_queue_item_is_found(database: Database) -> None:
    await put(
        database.analytics_queue, item(learner("healthy").stream), {"_id": 1, "event_type": "platform's"}
    )
    user = ObjectId()
    about = {"event_type": "counts_fold", "stream_id": None, "data": {"collection": "users", "id": user}}
    await put(database.analytics_queue, item("", **about, _id=f"counts:user:{user}"))
    stream = learner("healthy").stream
    row = {"collection": "notifications", "id": f"welcome:{stream}", "stream_id": stream, "version": None}
    refused = item("", event_type="counts_row", stream_id=None, data=row)
    await put(database.analytics_queue, {**refused, "_id": f"counts:welcome:{stream_object_id(stream)}"})
    stranger = item("", **about, _id=f"counts:user:{ObjectId()}")
    await put(database.analytics_queue, stranger)
    expected: Found = {("queue_item_different", f"analytics_queue {stranger['_id']}")}
    for name, (kind, damage) in ITEMS.items():
        damaged = damage(item(learner(name).stream))
        await put(database.analytics_queue, damaged)
        expected.add((kind, f"analytics_queue {damaged['_id']}"))

    assert found(await verify(database, quiescent=True)) == expected


@pytest.mark.parametrize(
    "other", [{"stream_id": "elsewhere"}, {"event_type": "platform's"}, {"status": "completed"}]
)
async def test_an_item_excuses_only_the_stream_it_is_about(database: Database, other: Document) -> None:
    target = learner("vic")
    await store(database, [target])
    await database.user_progress.delete_one({"_id": target.progress["_id"]})
    await put(database.analytics_queue, item(target.stream, **other))

    verification = await verify(database, quiescent=True)

    assert (verification.of("progress").quarantined, verification.finding_counts["progress_missing"]) == (
        0,
        1,
    )


MIGRATING = {"kind": "migration", "markers_in": "watch_positions", "writes": 0, "saved_at": START}
STATES = [
    {"_id": "counts:session", "kind": "session", "session": uuid4(), "writes": 1, "saved_at": START},
    {"_id": "migration", **MIGRATING},
]
MARKER = {"kind": "marker", "instructor_id": None, "writes": 1, "saved_at": START}


def group_lease(name: str, **other: Any) -> Document:
    return {"_id": name, "kind": "group", "owner": "me", "epoch": 3, "expires_at": START, **other}


def position(name: str, **other: Any) -> Document:
    versions = {name.partition(":")[0]: 1}
    state = {
        "_id": name,
        "kind": "position",
        "token": None,
        "epoch": 3,
        "versions": versions,
        "saved_at": START,
    }
    return {**state, **other}


def former(name: str, **other: Any) -> Document:
    """As the version before wrote it."""
    return {"_id": name, "token": None, "epoch": 3, "version": 1, "saved_at": START, **other}


def token(seconds: int) -> Document:
    return {"_data": f"82{seconds:08X}000000012B0229296E04"}


async def test_each_damage_to_a_lease_or_position_is_found(database: Database) -> None:
    leases = {
        "partition": {
            "_id": "partition:t:0",
            "kind": "partition",
            "session": uuid4(),
            "burns": 0,
            "updated_at": START,
        },
        "member": {
            "_id": "member:progress:me",
            "kind": "member",
            "owner": "me",
            "version": 1,
            "expires_at": START,
        },
    }
    await put(
        database.leases, *leases.values(), *(group_lease(group_name("progress", each)) for each in range(6))
    )
    user = ObjectId()
    await put(
        database.projection_state,
        position(group_name("progress", 0), token=token(1_700_000_000)),
        {"_id": f"counts:user:{user}", **MARKER},
        *STATES,
    )
    await put(
        database.watch_positions,
        former(group_name("progress", 0), token=token(1_700_000_000)),
        former(f"counts:user:{user}"),
        former("counts:session", token={"lsid": uuid4()}),
    )
    damaged = {
        "leases": [
            ("lease_different", group_lease("progress:99")),
            ("lease_different", group_lease("nobody:00")),
            ("lease_different", group_lease(group_name("counts", 0), expires_at=FAR)),
            ("lease_different", {**leases["member"], "_id": "member:progress:you"}),
            ("lease_different", {**leases["partition"], "_id": "partition:t"}),
            ("document_malformed", group_lease(group_name("retry", 0), epoch=3.0)),
            ("document_unreadable", group_lease(group_name("progress", 7), expires_at=NEVER)),
        ],
        "watch_positions": [("position_different", former("progress:77"))],
        "projection_state": [
            ("position_different", position(group_name("progress", 1), token=token(4_000_000_000))),
            ("position_different", position(group_name("progress", 2), token={"_data": "no token"})),
            ("position_different", position(group_name("progress", 3), epoch=4)),
            ("position_different", position(group_name("progress", 4), saved_at=FAR)),
            ("position_different", position("progress:77")),
            ("position_different", {**MARKER, "_id": "counts:learner:5"}),
            ("document_malformed", position(group_name("progress", 5), versions={"progress": "1"})),
        ],
    }
    expected: Found = set()
    for collection, documents in damaged.items():
        await put(database.collection(collection), *(document for _, document in documents))
        expected |= {(kind, f"{collection} {document['_id']}") for kind, document in documents}

    assert found(await verify(database, quiescent=True)) == expected
