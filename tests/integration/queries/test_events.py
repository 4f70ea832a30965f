"""`events show`: what is stored of a stream; what is about a person only for those who ask, and are noted."""

import json

import pytest
from bson.datetime_ms import DatetimeMS

from tests.integration.verify.history import learner, store
from tests.support.commands import sevenp_worker
from worker.app.exits import ExitCode
from worker.queries.stored_events import stored_events
from worker.storage.database import Database

ADA = learner("ada")
PERSONAL = ("a note", "Agent/1.0", "192.0.2.7", "ada-0", "time_spent", "12.5")


async def test_without_being_asked_nothing_that_a_producer_wrote_is_read(database: Database) -> None:
    await store(database, [ADA])
    found = [event async for event in stored_events(database, ADA.stream)]
    assert [event["version"] for event in found] == list(range(1, 13))
    assert not [word for word in PERSONAL if word in repr(found)]
    for shown, stored in zip(found, ADA.events, strict=True):
        ids = {
            name: each
            for name, each in stored["event_data"].items()
            if name in ("course_id", "user_id", "lesson_id")
        }
        assert shown.pop("event_data") == ids
        assert shown == {name: stored[name] for name in stored if name not in ("event_data", "personal")}


async def test_the_payload_is_shown_to_who_asks_and_the_audit_says_so(
    database: Database, settings: dict[str, str]
) -> None:
    await store(database, [ADA])
    settings = {**settings, "SEVENP_OPERATOR": "anna"}
    ended = await sevenp_worker(settings, "events", "show", ADA.stream, "--json")
    assert (ended.code, len(json.loads(ended.output))) == (ExitCode.OK, 12)
    assert not [word for word in PERSONAL if word in ended.output]
    assert await database.audit.count_documents({}) == 0

    ended = await sevenp_worker(
        settings, "events", "show", ADA.stream, "--version", "4", "--payload", "--json"
    )
    assert json.loads(ended.output)["personal"]["text"] == "a note"
    row = await database.audit.find_one({})
    assert row is not None
    assert (row["command"], row["who"].partition("@")[0]) == ("events show --payload", "anna")
    assert row["arguments"] == {"stream": ADA.stream, "version": 4}


async def test_the_list_says_of_each_event_where_it_came_from_even_of_one_nobody_can_read(
    database: Database, settings: dict[str, str]
) -> None:
    await store(database, [ADA])
    first, *_ = ADA.events
    await database.course_events.update_one(
        {"_id": ADA.events[6]["_id"]}, {"$set": {"recorded_at": DatetimeMS(2**60)}}
    )
    ended = await sevenp_worker(settings, "events", "show", ADA.stream)
    assert ended.code == ExitCode.OK, ended.output
    source = first["metadata"]["source"]
    line = next(each for each in ended.output.splitlines() if str(first["_id"]) in each)
    assert f"t:0:{source['offset']}" in line
    assert "course_enrolled" in line
    assert "a date outside the years 1 to 9999" in ended.output
    assert ended.output.count("void") == 1


@pytest.mark.slow
async def test_what_is_no_stream_and_what_is_not_there_is_told(
    database: Database, settings: dict[str, str]
) -> None:
    await store(database, [ADA])
    for arguments, words in (
        (["course_1_user_2"], "'course_1_user_2' names no stream"),
        ([f"course_{'0' * 24}_user_{'0' * 24}"], "is stored"),
        ([ADA.stream, "--version", "13"], f"there is no version 13 in {ADA.stream}"),
    ):
        ended = await sevenp_worker(settings, "events", "show", *arguments)
        assert (ended.code, words in ended.error) == (ExitCode.USAGE, True), ended.output
