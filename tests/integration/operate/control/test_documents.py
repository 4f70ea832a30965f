"""Documents by which operators steer, on a real server: one of a key, its own clock, and whatever others write."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS
from pymongo.errors import DuplicateKeyError

from worker.storage import control_documents
from worker.storage.control_documents import (
    KEY_PREFIX,
    Names,
    put_control,
    read_controls,
    remove_control,
)
from worker.storage.database import Database

SAID = {"who": "anna@ops", "reason": "index build"}
INGEST = "pause.role.ingest"


async def test_what_is_said_again_replaces_what_was_said(database: Database) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    assert await put_control(database, "production", INGEST, SAID, until=60.0)
    assert not await put_control(database, "production", INGEST, {"reason": "it takes longer"}, until=600)
    [row] = await database.system_settings.find({}).to_list(None)
    assert (row["_id"], row["key"]) == (f"{KEY_PREFIX}{INGEST}@production", f"{KEY_PREFIX}{INGEST}")
    assert row["value"].keys() == {"reason", "since", "until"}
    assert row["value"]["since"] > before
    [read] = (await read_controls(database, "production")).documents
    assert (read.name, read.value["reason"]) == (INGEST, "it takes longer")
    assert read.left_s is not None
    assert 590 < read.left_s <= 600


async def test_what_stands_there_may_be_kept(database: Database) -> None:
    assert await put_control(database, "production", INGEST, SAID, keep=True)
    assert not await put_control(database, "production", INGEST, {"reason": "me too"}, keep=True)
    [read] = (await read_controls(database, "production")).documents
    assert (read.value["reason"], read.left_s) == ("index build", None)


async def test_only_what_is_on_without_end_is_kept(database: Database) -> None:
    over = {"until": datetime(2026, 1, 1, tzinfo=UTC)}
    lasts = {"until": datetime.now(UTC) + timedelta(hours=1)}
    for stands, in_force in ((over, False), (lasts, True), (False, False), ({"until": "x"}, False)):
        found = {"key": KEY_PREFIX + INGEST, "environment": "production", "value": stands}
        for keep, new in ((True, True), (False, not in_force)):
            await database.system_settings.replace_one({"key": found["key"]}, found, upsert=True)
            assert await put_control(database, "production", INGEST, SAID, keep=keep) is new, stands
            [read] = (await read_controls(database, "production")).documents
            assert (read.value["reason"], read.left_s) == ("index build", None)
    for stands in ({"reason": "by hand"}, True):
        found = {"key": KEY_PREFIX + INGEST, "environment": "production", "value": stands}
        await database.system_settings.replace_one({"key": found["key"]}, found)
        assert not await put_control(database, "production", INGEST, SAID, keep=True)
        [read] = (await read_controls(database, "production")).documents
        assert read.value == stands


async def test_an_identity_of_ours_that_somebody_else_has_is_no_obstacle(database: Database) -> None:
    theirs = {"_id": f"{KEY_PREFIX}{INGEST}@production", "key": KEY_PREFIX + INGEST, "environment": "staging"}
    await database.system_settings.insert_one({**theirs, "value": False})
    assert await put_control(database, "production", INGEST, SAID, keep=True)
    assert not await put_control(database, "production", INGEST, SAID, keep=True)
    [read] = (await read_controls(database, "production")).documents
    assert read.value["who"] == "anna@ops"
    [left] = (await read_controls(database, "staging")).documents
    assert left.value is False


async def test_a_time_is_kept_as_it_was_given_and_may_be_over(database: Database) -> None:
    end = datetime(2026, 1, 1, tzinfo=UTC)
    await put_control(database, "production", INGEST, SAID, until=end)
    [read] = (await read_controls(database, "production")).documents
    assert read.value["until"] == end
    assert read.left_s is not None
    assert read.left_s < 0


async def test_each_environment_has_its_own_and_one_is_removed_alone(database: Database) -> None:
    for environment in ("production", "staging"):
        await put_control(database, environment, INGEST, SAID)
    assert await remove_control(database, "production", INGEST)
    assert not await remove_control(database, "production", INGEST)
    assert (await read_controls(database, "production")).documents == []
    assert len((await read_controls(database, "staging")).documents) == 1


async def test_of_a_key_of_ours_there_is_one_whoever_writes_it(database: Database) -> None:
    by_hand = {"key": KEY_PREFIX + INGEST, "environment": "production", "value": True}
    await database.system_settings.insert_one({**by_hand})
    with pytest.raises(DuplicateKeyError):
        await database.system_settings.insert_one({**by_hand})
    assert not await put_control(database, "production", INGEST, SAID)
    [row] = await database.system_settings.find({}).to_list(None)
    assert row["value"]["who"] == "anna@ops"
    theirs = {"key": "theme", "environment": "production", "value": "dark"}
    await database.system_settings.insert_many([{**theirs}, {**theirs}])


@pytest.mark.parametrize(
    "value", [None, 7, "x", [], {}, {"until": "x"}, {"until": [1]}, b"\x00", [{"until": 1}]]
)
async def test_whatever_somebody_writes_there_can_be_read(database: Database, value: Any) -> None:
    await database.system_settings.insert_one(
        {"key": KEY_PREFIX + "x", "environment": "production", "value": value}
    )
    await put_control(database, "production", INGEST, SAID)
    found = await read_controls(database, "production")
    assert {each.name: each.value for each in found.documents if each.name == "x"} == {"x": value}
    assert {each.name for each in found.documents} == {"x", INGEST}


async def test_what_cannot_be_decoded_costs_only_itself(database: Database) -> None:
    far = DatetimeMS(300_000_000_000_000)
    odd = {"key": KEY_PREFIX + "x", "environment": "production", "value": {"until": far}}
    await database.system_settings.insert_one(odd)
    await put_control(database, "production", INGEST, SAID)
    found = await read_controls(database, "production")
    assert [each.name for each in found.documents] == [INGEST]
    assert len(found.unreadable) == 1


async def test_of_thousands_those_whose_names_mean_something_are_read_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_documents, "_USUAL", 5)
    monkeypatch.setattr(control_documents, "_MOST", 10)
    names = [f"a.{number:02}" for number in range(30)]
    names += [f"pause.stream.{number:02}" for number in range(30)] + [INGEST, "set.log_level", "zzz"]
    keys = [{"key": KEY_PREFIX + each, "environment": "production", "value": True} for each in names]
    await database.system_settings.insert_many(keys)
    known = Names([INGEST, "set.log_level"], ["pause.partition.", "pause.stream."])
    found = await read_controls(database, "production", known)
    read = [each.name for each in found.documents]
    assert read[:2] == [INGEST, "set.log_level"]
    assert read[2:12] == [f"pause.stream.{number:02}" for number in range(10)]
    assert len(read) == 2 + 10 + 5
    assert found.unread == len(names) - len(read)


async def test_what_is_far_too_large_is_named_and_not_loaded(database: Database) -> None:
    for name, value in (("x", {"reason": "x" * 20_000}), ("y" * 2_000, True)):
        await database.system_settings.insert_one(
            {"key": KEY_PREFIX + name, "environment": "production", "value": value}
        )
    await put_control(database, "production", INGEST, SAID)
    found = await read_controls(database, "production")
    assert [each.name for each in found.documents] == [INGEST]
    assert (
        sorted(each.reason for each in found.unreadable)
        == ["it, or its key, is larger than any of ours (16,384 bytes)"] * 2
    )
    assert all("bytes" in each.name for each in found.unreadable)
