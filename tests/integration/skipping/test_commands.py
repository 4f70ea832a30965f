"""`queue skip-event` and its like, as an operator types them."""

import json

import pytest

from tests.conftest import RunningMongo
from tests.integration.skipping.blocked import BAD, blocked, broken
from tests.support.progress import documents, expected
from tests.support.retry import Run, command_line, folding, running
from worker.app.exits import ExitCode
from worker.storage.database import Database

WHY = "--reason=bad score"


@pytest.fixture
def run(database: Database, mongodb: RunningMongo) -> Run:
    """`sevenp-worker queue` on this test's database."""
    return command_line("queue", mongodb_uri=mongodb.uri, database_prefix=database.prefix, operator="anna")


async def _audit(database: Database) -> list[tuple[str, str, str]]:
    rows = await database.audit.find({}).sort("at", 1).to_list(None)
    return [(row["command"], row["status"], row["who"].partition("@")[0]) for row in rows]


async def test_from_the_list_to_a_learner_who_goes_on(database: Database, run: Run) -> None:
    one = await blocked(database)
    listed = await run("list")
    [row] = [line for line in listed.stdout.splitlines() if one.stream in line]
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[4:7] == [str(BAD), "quiz_submitted", str(one.events[BAD - 1]["_id"])]

    said = await run("skip-event", cells[0], "--version", cells[4], WHY)
    assert (said.exit_code, said.stdout) == (ExitCode.OK, "")
    assert f"version {BAD} of {one.stream} (quiz_submitted" in said.stderr.replace("\n", " ")
    async with running(database, folding(database, broken())) as retry:
        await retry.until_status("completed", 1)
    assert await documents(database) == await expected(database)

    shown = await run("skipped", "--json")
    [decision] = json.loads(shown.stdout)
    assert (decision["version"], decision["reason"]) == (BAD, "bad score")
    assert one.stream in (await run("skipped", "--stream", one.stream)).stdout

    again = await run("skip-event", one.stream, "--version", str(BAD), "--reason", "me too", "--json")
    assert again.exit_code == ExitCode.OK
    assert json.loads(again.stdout)["skipped"] is False
    taken_back = await run("unskip-event", one.stream, "--version", str(BAD), "--reason=mended")
    assert taken_back.exit_code == ExitCode.OK
    assert "No event is skipped." in (await run("skipped")).stdout
    [before] = json.loads((await run("skipped", "--all", "--json")).stdout)
    assert before["taken_back_by"].startswith("anna@")
    assert await _audit(database) == [
        ("queue skip-event", "done", "anna"),
        ("queue skip-event", "done", "anna"),
        ("queue unskip-event", "done", "anna"),
    ]


async def test_a_dry_run_changes_nothing(database: Database, run: Run) -> None:
    one = await blocked(database)
    item = await database.analytics_queue.find_one({})
    said = await run("skip-event", one.stream, "--version", str(BAD), WHY, "--dry-run")
    assert (said.exit_code, "would be skipped" in said.stderr) == (ExitCode.OK, True)
    assert await database.analytics_queue.find_one({}) == item
    assert await _nothing(database)


async def _nothing(database: Database) -> bool:
    counts = [
        await collection.count_documents({}) for collection in (database.skipped_versions, database.audit)
    ]
    return counts == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody", f"--version={BAD}", WHY], "no stream has the name 'nobody'"),
        (["{stream}", "--version=99", WHY], "its versions go to 6"),
        (["{stream}", "--version=5", WHY], f"stands at version {BAD}"),
    ],
)
async def test_what_cannot_be_is_told_and_audited_as_failed(
    database: Database, run: Run, arguments: list[str], words: str
) -> None:
    one = await blocked(database)
    said = await run("skip-event", *(each.format(stream=one.stream) for each in arguments))
    assert said.exit_code == ExitCode.USAGE
    assert words in said.stderr.replace("\n", " ")
    assert await _audit(database) == [("queue skip-event", "failed", "anna")]


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
async def test_a_reason_is_asked_for(database: Database, run: Run, reason: str) -> None:
    said = await run("skip-event", "course_x", f"--version={BAD}", f"--reason={reason}")
    assert (said.exit_code, await _nothing(database)) == (ExitCode.USAGE, True)
