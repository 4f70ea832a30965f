"""`sevenp-worker control`, as an operator types it."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import RunningMongo
from tests.support.progress import histories
from tests.support.retry import Run, Said, command_line, item, put, stored
from worker.app.exits import ExitCode
from worker.errors import Refused
from worker.operate.control import commands
from worker.operate.control.limits import LOG_LEVEL
from worker.operate.control.targets import Target
from worker.storage.control_documents import KEY_PREFIX, read_controls
from worker.storage.database import Database
from worker.storage.work_items import fold_item_id

WHY = "--reason=index build"


@pytest.fixture
def run(database: Database, mongodb: RunningMongo) -> Run:
    """`sevenp-worker control` on this test's database."""
    return command_line(
        "control",
        mongodb_uri=mongodb.uri,
        database_prefix=database.prefix,
        operator="anna",
        topic="events.of",
    )


async def _keys(database: Database) -> list[str]:
    return [each.name for each in (await read_controls(database, "production")).documents]


def _line(said: Said) -> str:
    return said.stderr.replace("\n", " ")


async def test_from_a_pause_to_its_end(database: Database, run: Run) -> None:
    assert "Nothing is paused or set in production." in (await run("show")).stdout
    paused = await run("pause", "ingest", WHY, "--for", "30m")
    assert (paused.exit_code, paused.stdout) == (ExitCode.OK, "")
    assert "role ingest is paused in production, for 1800 s" in _line(paused)
    again = await run("pause", "ingest", "--reason=it takes longer")
    assert "was paused already, and has the new reason and end" in _line(again)
    for words in (
        ["partition", "events.of", "3"],
        ["projection", "counts"],
        ["kind", "welcome"],
        ["stream", next(iter(histories(1, 1)))],
    ):
        assert (await run("pause", *words, WHY)).exit_code == ExitCode.OK
    shown = await run("show", "--json")
    told = json.loads(shown.stdout)
    assert (told["environment"], len(told["pauses"]), told["ignored"]) == ("production", 5, [])
    [ingest] = [each["said"] for each in told["pauses"] if each["target"]["name"] == "ingest"]
    assert (ingest["reason"], ingest["until"]) == ("it takes longer", None)
    assert ingest["who"].startswith("anna@")
    assert "partition events.of/3 is paused" in (await run("show")).stdout
    resumed = await run("resume", "partition", "events.of", "3", "--reason=done", "--json")
    assert (resumed.exit_code, json.loads(resumed.stdout)["changed"]) == (ExitCode.OK, True)
    gone = await run("resume", "partition", "events.of", "3", "--reason=done")
    assert (gone.exit_code, "was not paused" in _line(gone)) == (ExitCode.DIFFERENCE, True)
    assert "pause.partition.events.of.3" not in await _keys(database)


async def test_settings_are_set_with_an_end_and_unset(database: Database, run: Run) -> None:
    set_ = await run("set", "log_level", "DEBUG", "--for", "30m", WHY)
    assert (set_.exit_code, "log_level is debug in production, for 1800 s" in _line(set_)) == (0, True)
    assert (await run("set", "ingest_per_s", "500", WHY)).exit_code == ExitCode.OK
    told = json.loads((await run("show", "--json")).stdout)["settings"]
    assert {each["name"]: each["value"] for each in told} == {"log_level": "debug", "ingest_per_s": 500.0}
    assert "ingest_per_s = 500" in (await run("show")).stdout
    assert (await run("unset", "ingest_per_s", WHY)).exit_code == ExitCode.OK
    assert (await run("unset", "ingest_per_s", WHY)).exit_code == ExitCode.DIFFERENCE
    assert await _keys(database) == ["set.log_level"]


async def test_every_change_has_a_row_in_the_audit(database: Database, run: Run) -> None:
    await run("pause", "kind", "welcome", WHY, "--for", "2h")
    await run("resume", "kind", "welcome", "--reason=mended")
    await run("set", "notify_per_s", "5", WHY)
    await run("unset", "notify_per_s", WHY)
    await run("show")
    rows = await database.audit.find({}).sort("at", 1).to_list(None)
    assert [(row["command"], row["status"], row["outcome"]["changed"]) for row in rows] == [
        (f"control {name}", "done", True) for name in ("pause", "resume", "set", "unset")
    ]
    assert rows[0]["arguments"] == {
        "environment": "production",
        "what": "kind welcome",
        "reason": "index build",
        "for": "2h",
    }
    assert all(row["who"].startswith("anna@") for row in rows)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pause", "everything", WHY], "nothing that can be paused"),
        (["pause", "partition", "events", "3", WHY], "there is no topic 'events'"),
        (["pause", "ingest"], "--reason"),
        (["pause", "ingest", "--reason= "], "letters why"),
        (["pause", "ingest", WHY, "--for", "soon"], "no length of time"),
        (["pause", "ingest", WHY, "--for", "0m"], "no length of time"),
        (["pause", "ingest", WHY, "--until", "2020-01-01"], "has passed"),
        (["pause", "ingest", WHY, "--until", "9999-12-31T00:00"], "is too far away"),
        (["pause", "ingest", WHY, "--for", "999999w"], "is too far away"),
        (["set", "log_level", "debug", WHY, "--until", "9999-12-31T00:00"], "is too far away"),
        (["pause", "ingest", WHY, "--for", "1h", "--until", "2100-01-01"], "not both"),
        (["set", "speed", "5", WHY], "there is no setting 'speed'"),
        (["set", "log_level", "loud", WHY], "must be one of"),
        (["set", "ingest_per_s", "0", WHY], "must be a number from 1"),
        (["unset", "speed", WHY], "there is no setting 'speed'"),
    ],
)
async def test_what_makes_no_sense_is_told_and_changes_nothing(
    database: Database, run: Run, arguments: list[str], words: str
) -> None:
    said = await run(*arguments)
    assert said.exit_code == ExitCode.USAGE
    assert words in " ".join(said.stderr.replace("│", " ").split())
    assert (await _keys(database), await database.audit.count_documents({})) == ([], 0)


async def test_nobody_is_told_of_a_pause_that_the_workers_do_not_see(database: Database) -> None:
    far = commands.Asked("production", "anna@ops", "index build", datetime(9999, 12, 31, tzinfo=UTC))
    with pytest.raises(Refused, match=r"role ingest is not paused: .*its `until` is no date"):
        await commands.pause(database, Target("role", "ingest"), far)
    with pytest.raises(Refused, match=r"log_level is not set: .*its `until` is no date"):
        await commands.set_value(database, LOG_LEVEL, "debug", far)


async def test_whose_word_does_not_hold_any_more_is_said_and_kept(
    database: Database, run: Run, mongodb: RunningMongo
) -> None:
    berts = command_line(
        "control",
        mongodb_uri=mongodb.uri,
        database_prefix=database.prefix,
        operator="bert",
        topic="events.of",
    )
    await berts("pause", "ingest", "--reason=ticket\n4711")
    again = _line(await run("pause", "ingest", "--reason=it takes longer"))
    assert "has the new reason and end in production" in again
    assert "(before: by bert@" in again
    assert "because: ticket\\n4711)" in again
    resumed = json.loads((await berts("resume", "ingest", "--reason=done", "--json")).stdout)
    assert (resumed["before"]["who"][:5], resumed["before"]["reason"]) == ("anna@", "it takes longer")
    await berts("set", "ingest_per_s", "500", WHY)
    assert "(before: 500, by bert@" in _line(await run("set", "ingest_per_s", "300", WHY))
    assert "(before: 300, by anna@" in _line(await berts("unset", "ingest_per_s", WHY))
    rows = await database.audit.find({}).sort("at", 1).to_list(None)
    assert [(row["outcome"].get("before") or {}).get("reason") for row in rows] == [
        None,
        "ticket\n4711",
        "it takes longer",
        None,
        "index build",
        "index build",
    ]


async def test_a_partition_that_there_is_not_is_refused_where_kafka_can_be_asked(
    database: Database, mongodb: RunningMongo, kafka: str, topic: str
) -> None:
    named = {"mongodb_uri": mongodb.uri, "database_prefix": database.prefix, "kafka_bootstrap_servers": kafka}
    run = command_line("control", **named, topic=topic)
    said = await run("pause", "partition", topic, "99", WHY)
    assert said.exit_code == ExitCode.USAGE
    words = " ".join(said.stderr.replace("│", " ").split())
    assert "there is no partition 99:" in words
    assert "has 4 partitions, from 0 on" in words
    assert (await run("pause", "partition", topic, "3", WHY)).exit_code == ExitCode.OK
    absent = command_line("control", **named, topic="nobody-made-it")
    assert (await absent("pause", "partition", "nobody-made-it", "0", WHY)).exit_code == ExitCode.USAGE
    silent = command_line("control", **{**named, "kafka_bootstrap_servers": "127.0.0.1:1"}, topic=topic)
    said = await silent("pause", "partition", topic, "99", WHY)
    assert said.exit_code == ExitCode.OK
    assert "warning: whether" in _line(said)
    # What should not be there can be taken away, whatever Kafka says.
    assert (await run("resume", "partition", topic, "99", WHY)).exit_code == ExitCode.OK


async def test_it_is_shown_in_one_shape_and_no_key_breaks_out_of_its_line(
    database: Database, run: Run, mongodb: RunningMongo
) -> None:
    odd = [f"pause.role.cook\nworker_control.{number} is paused" for number in range(25)]
    keys = [{"key": KEY_PREFIX + each, "environment": "production", "value": True} for each in odd]
    await database.system_settings.insert_many(keys)
    await run("pause", "counts", WHY)
    said = await run("show")
    assert len(said.stderr.splitlines()) == 20 + 1
    assert all(line.startswith("sevenp-worker: error: ") for line in said.stderr.splitlines())
    assert said.stderr.splitlines()[-1].endswith("5 more documents make no sense, and are ignored")
    told = json.loads((await run("show", "--json")).stdout)
    assert (len(told["ignored"]), told["ignored_in_all"]) == (20, 25)
    looked = command_line("status", mongodb_uri=mongodb.uri, database_prefix=database.prefix)
    found = json.loads((await looked("--json")).stdout)["paused"]
    assert found.keys() == told.keys() - {"environment"}
    assert found["pauses"][0].keys() == told["pauses"][0].keys() == {"target", "said"}
    assert [found["pauses"][0]["said"][name] for name in ("who", "reason", "since", "until")] == [
        told["pauses"][0]["said"][name] for name in ("who", "reason", "since", "until")
    ]


async def test_a_resumed_stream_is_due_at_once(database: Database, run: Run) -> None:
    stream = next(iter(histories(1, 1)))
    identity = fold_item_id(stream)
    later = datetime.now(UTC) + timedelta(days=1)
    await put(database, [item(identity, stream, error_class="Paused", due_at=later)])
    await run("pause", "stream", stream, WHY)
    await run("resume", "stream", stream, WHY)
    assert (await stored(database, identity))["due_at"] < later - timedelta(hours=12)


async def test_documents_that_make_no_sense_are_shown(database: Database, run: Run) -> None:
    odd = {"key": KEY_PREFIX + "pause.role.cook", "environment": "production", "value": True}
    await database.system_settings.insert_one(odd)
    said = await run("show")
    assert (said.exit_code, "worker_control.pause.role.cook is ignored" in _line(said)) == (ExitCode.OK, True)
    [ignored] = json.loads((await run("show", "--json")).stdout)["ignored"]
    assert ignored["key"] == odd["key"]
