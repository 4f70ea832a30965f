"""`explain` on stored histories: every change with its event, and what is odd about the stream or its documents."""

import json
from typing import Any

import pytest
from bson import ObjectId
from bson.datetime_ms import DatetimeMS

from projections.progress.projection import PROGRESS
from tests.integration.verify.counted import counted, store_counted
from tests.integration.verify.history import COURSE, Learner, learner, store, without
from tests.support.commands import sevenp_worker
from worker.app.exits import ExitCode
from worker.queries.explain import Explanation, explain
from worker.queries.explained import UnknownField
from worker.queries.fields import value_at
from worker.storage.database import Database

ADA = learner("ada")


async def stored(database: Database, *learners: Learner) -> None:
    await store(database, learners)
    await store_counted(database, counted(learners), learners)


def changes(found: Explanation) -> list[tuple[int, str, Any]]:
    return [(each.version, each.field, each.value) for each in found.changes]


async def test_the_last_change_of_each_field_is_what_the_document_holds(database: Database) -> None:
    await stored(database, ADA)
    found = await explain(database, ADA.stream)
    last = {each.field: each for each in found.changes if each.collection == "user_progress"}
    assert len(last) > 30
    assert {name: each.value for name, each in last.items() if not each.personal} == {
        name: value_at(ADA.progress, name) for name, each in last.items() if not each.personal
    }
    assert {each.field.rpartition(".")[2] for each in last.values() if each.personal} == {"notes"}
    by_version = {event["version"]: event for event in ADA.events}
    for each in found.changes:
        event = by_version[each.version]
        assert (each.event_id, each.event_type) == (event["_id"], event["event_type"])
    assert [(each.version, each.kind) for each in found.remarks] == [(5, "void")]
    assert [(each.collection, each.agrees, each.differences) for each in found.documents] == [
        ("user_progress", True, 0),
        ("user_progress_projections", True, 0),
    ]


async def test_one_field_is_told_with_rule_and_every_value_it_had(database: Database) -> None:
    await stored(database, ADA)
    found = await explain(database, ADA.stream, "progress.total_lessons")
    (change,) = found.changes
    assert (change.version, change.value, change.rule.name) == (1, 4, "enrolled")
    assert change.rule.says.startswith("The learner is enrolled")
    assert [each.collection for each in found.documents] == ["user_progress"]
    enrolled = await explain(database, ADA.stream, "user_progress_projections.counted.enrolled")
    assert changes(enrolled) == [(1, "counted.enrolled", 1)]
    row = await explain(database, ADA.stream, "user_progress_projections")
    assert {each.collection for each in row.changes} == {"user_progress_projections"}
    assert len(row.changes) > 20


@pytest.mark.parametrize("name", ["grade", "progress.grade", "users.stats", "lesson_progress.first"])
async def test_a_field_that_there_is_not_is_refused_with_those_that_there_are(
    database: Database, name: str
) -> None:
    await stored(database, ADA)
    with pytest.raises(
        UnknownField, match=f"the events of this stream make no field {name}: in user_progress "
    ):
        await explain(database, ADA.stream, name)


async def test_a_document_that_somebody_changed_is_told_apart_from_its_events(database: Database) -> None:
    await stored(database, ADA)
    changed = {"progress.percentage": 99.0, "social.discussion_posts": 7, "platform": "is not ours"}
    await database.user_progress.update_one({"_id": ADA.progress["_id"]}, {"$set": changed})
    await database.user_progress_projections.update_one(
        {"_id": ADA.progress["_id"]}, {"$set": {"counted.completed": 1}}
    )
    record, row = (await explain(database, ADA.stream)).documents
    assert {(each.field, each.stored) for each in record.differing} == {
        ("progress.percentage", 99.0),
        ("social.discussion_posts", 7),
    }
    assert (record.agrees, record.detail) == (False, "at version 12 not as its events say")
    assert [(each.field, each.folded, each.stored) for each in row.differing] == [("counted.completed", 0, 1)]
    (one,) = (await explain(database, ADA.stream, "social")).documents
    assert [each.field for each in one.differing] == ["social.discussion_posts"]


async def test_of_a_difference_in_somebodys_own_words_neither_side_is_shown(database: Database) -> None:
    await stored(database, ADA)
    theirs = {f"lesson_progress.{number}.notes": "their own words" for number in range(2)}
    await database.user_progress.update_one({"_id": ADA.progress["_id"]}, {"$set": theirs})
    record, _ = (await explain(database, ADA.stream)).documents
    assert len(record.differing) == 2
    assert {each.field.rpartition(".")[2] for each in record.differing} == {"notes"}
    assert {(each.folded, each.stored, each.personal) for each in record.differing} == {(None, None, True)}


async def test_a_document_that_is_behind_ahead_absent_or_of_other_code_is_said_to_be(
    database: Database,
) -> None:
    await stored(database, ADA)
    identity = {"_id": ADA.progress["_id"]}
    await database.course_events.insert_one(
        {**ADA.events[-1], "_id": ADA.events[4]["_id"].__class__(int=7), "version": 13}
    )
    details = {each.collection: each.detail for each in (await explain(database, ADA.stream)).documents}
    assert details["user_progress"] == "at version 12 as its events say; behind: 1 event not in it yet"
    await database.user_progress.update_one(identity, {"$set": {"version": 40}})
    record, _ = (await explain(database, ADA.stream)).documents
    assert (record.agrees, record.detail) == (False, "it says version 40, the events end at 13")
    await database.user_progress.update_one(identity, {"$set": {"projection_version": PROGRESS.version + 1}})
    record, _ = (await explain(database, ADA.stream)).documents
    assert record.agrees is None
    await database.user_progress.delete_one(identity)
    record, _ = (await explain(database, ADA.stream)).documents
    assert (record.agrees, record.detail) == (False, "there is no such document")


async def test_a_hole_an_unreadable_event_and_a_fold_that_fails_end_it_and_are_named(
    database: Database,
) -> None:
    hole, odd, bad = learner("hole"), learner("odd"), learner("bad")
    await store(database, [without(hole, 4), odd, bad])
    await database.course_events.update_one(
        {"stream_id": odd.stream, "version": 4}, {"$set": {"occurred_at": DatetimeMS(2**60)}}
    )
    await database.course_events.update_one(
        {"stream_id": bad.stream, "version": 8}, {"$set": {"event_data.details.score": "none"}}
    )
    for each, version, kind in ((hole, 4, "hole"), (odd, 4, "unreadable"), (bad, 8, "fold_failed")):
        found = await explain(database, each.stream)
        assert (found.remarks[-1].version, found.remarks[-1].kind) == (version, kind)
        assert max(change.version for change in found.changes) == version - 1
        assert found.documents[0].detail == "the events cannot be folded up to its version 12"


@pytest.mark.slow
async def test_the_command_prints_tables_and_json(database: Database, settings: dict[str, str]) -> None:
    await stored(database, ADA)
    who = (str(ADA.progress["user_id"]).upper(), str(COURSE))
    ended = await sevenp_worker(settings, "explain", *who, "progress.percentage", "--json")
    assert ended.code == ExitCode.OK, ended.output
    told = json.loads(ended.output)
    assert told["stream"] == ADA.stream
    assert told["changes"][-1]["value"] == ADA.progress["progress"]["percentage"]
    ended = await sevenp_worker(settings, "explain", *who, "progress.percentage")
    assert told["changes"][0]["event_id"] in ended.output
    assert told["changes"][0]["rule"]["says"] in ended.output
    assert "at version 12 as its events say" in ended.output


@pytest.mark.slow
async def test_the_command_refuses_what_is_no_learner_and_no_field(
    database: Database, settings: dict[str, str]
) -> None:
    await stored(database, ADA)
    ended = await sevenp_worker(settings, "explain", "ada", str(COURSE))
    assert (ended.code, "'ada' is no id" in ended.output) == (ExitCode.USAGE, True)
    ended = await sevenp_worker(settings, "explain", str(ADA.progress["user_id"]))
    assert (ended.code, "COURSE" in ended.output) == (ExitCode.USAGE, True)
    theirs = f"user_{ADA.progress['user_id']}"
    ended = await sevenp_worker(settings, "explain", theirs, "status")
    assert (ended.code, f"makes no document of {theirs}" in ended.error) == (ExitCode.USAGE, True)
    ended = await sevenp_worker(settings, "explain", str(ObjectId()), str(COURSE))
    assert (ended.code, "nothing is stored of learner" in ended.error) == (ExitCode.USAGE, True)
    ended = await sevenp_worker(settings, "explain", str(ADA.progress["user_id"]), str(COURSE), "grade")
    assert (ended.code, "make no field grade" in ended.error) == (ExitCode.USAGE, True)
