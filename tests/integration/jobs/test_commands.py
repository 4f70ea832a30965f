"""Jobs as commands: ended by signals, asked by other commands, killed at each of their writes, and how they end."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.integration.jobs.conftest import Commands
from tests.support.commands import sevenp_worker
from tests.support.waiting import until
from worker.app.exits import ExitCode
from worker.storage.database import Database, Document

# It would go on for hours: whoever ends it must do so.
ENDLESS = ("100000", "one", "--step-s", "0.05")
# More writes than a run of two steps has.
MOST_WRITES = 30


async def the_run(database: Database) -> Document:
    [run] = await database.job_runs.find({}).to_list(None)
    return run


async def until_at_work(database: Database, steps: int = 1) -> str:
    """The run that is at work, once it has made so many steps."""

    async def found() -> str | None:
        running = {"status": "running", "progress.done": {"$gte": steps}}
        run = await database.job_runs.find_one(running)
        return None if run is None else str(run["_id"])

    return str(await until(found, "a run is at work"))


async def audited(database: Database) -> list[tuple[str, str, str]]:
    rows = await database.audit.find({}).sort("at", 1).to_list(None)
    return [(row["command"], row["who"].partition("@")[0], row["status"]) for row in rows]


async def seen(environment: dict[str, str], run: str) -> dict[str, Any]:
    shown = await sevenp_worker(environment, "jobs", "show", run, "--json")
    assert shown.code == ExitCode.OK, shown.output
    found: dict[str, Any] = json.loads(shown.output)
    return found


@pytest.mark.slow
async def test_a_run_is_paused_resumed_and_cancelled_from_other_processes(
    commands: Commands, environment: dict[str, str], database: Database
) -> None:
    working = commands.start(*ENDLESS)
    run = await until_at_work(database)
    paused = await sevenp_worker(environment, "jobs", "pause", run)
    assert paused.output == f"{run} is paused. It waits after its next step.\n"
    await until(lambda: "paused by anna@" in working.log.read_text(), "the run says that it is paused")
    done = (await seen(environment, run))["progress"]["done"]
    now = await seen(environment, run)
    assert (now["state"], now["progress"]["done"]) == ("paused", done)
    assert now["held_by"]["who"].startswith("anna@")

    assert (
        await sevenp_worker(environment, "jobs", "resume", run)
    ).output == f"{run} is running. It goes on.\n"
    await until_at_work(database, done + 1)
    cancelled = await sevenp_worker(environment, "jobs", "cancel", run)
    assert cancelled.code == ExitCode.OK, cancelled.output
    code, output = await commands.ended(working)
    assert code == ExitCode.CANCELLED
    assert "error: cancelled by anna@" in output
    assert (await the_run(database))["status"] == "cancelled"
    # The command that began last may have its outcome before the run has.
    assert sorted(await audited(database)) == [
        ("count", "anna", "failed"),
        ("jobs cancel", "anna", "done"),
        ("jobs pause", "anna", "done"),
        ("jobs resume", "anna", "done"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_a_run_so_that_the_same_command_goes_on(
    commands: Commands, database: Database, number: signal.Signals
) -> None:
    working = commands.start("40", "one", "--step-s", "0.05")
    await until_at_work(database)
    working.popen.send_signal(number)
    code, output = await commands.ended(working)
    assert (code, output) == (
        ExitCode.INTERRUPTED,
        "sevenp-worker: interrupted: what is done stays; the same command goes on where it came to\n",
    )
    stopped = await the_run(database)
    assert (stopped["status"], stopped["error"]) == ("stopped", "interrupted")
    code, output = await commands.run("40", "one", "--step-s", "0.05")
    assert code == ExitCode.OK, output
    assert f"goes on with run {stopped['_id']} of " in output
    assert f" at {stopped['progress']['done']} of 40; to begin anew, `sevenp-worker jobs cancel " in output
    finished = await the_run(database)
    assert (finished["status"], finished["attempts"], finished["counts"]) == ("succeeded", 2, {"counted": 40})
    assert await database.cache.count_documents({}) == 40


@pytest.mark.slow
async def test_a_run_that_goes_on_says_so_to_scripts_as_well(commands: Commands, database: Database) -> None:
    working = commands.start("40", "one", "--step-s", "0.05")
    await until_at_work(database)
    working.popen.kill()
    await commands.ended(working)
    killed = await the_run(database)
    code, output = await commands.run("40", "one", "--step-s", "0.05", "--json", SEVENP_OPERATOR="ben")
    assert code == ExitCode.OK, output
    assert f"last run by {killed['who']}, at " in output
    told = json.loads(output[output.index("{") :])
    from_where = {
        "who": killed["who"],
        "since": killed["started_at"].isoformat(),
        "done": killed["progress"]["done"],
    }
    assert (told["resumed"], told["resumed_from"], told["audit_missing"]) == (True, from_where, False)
    assert (told["who"].partition("@")[0], told["attempts"]) == ("ben", 2)
    code, output = await commands.run("2", "one", "--json")
    assert json.loads(output)["resumed"] is False


@pytest.mark.slow
async def test_a_run_that_was_killed_while_paused_is_paused_when_it_goes_on(
    commands: Commands, environment: dict[str, str], database: Database
) -> None:
    working = commands.start(*ENDLESS)
    run = await until_at_work(database)
    await sevenp_worker(environment, "jobs", "pause", run)
    await until(lambda: "paused by" in working.log.read_text(), "the run says that it is paused")
    working.popen.kill()
    done = (await the_run(database))["progress"]["done"]
    again = commands.start(*ENDLESS)
    await until(lambda: "paused by" in again.log.read_text(), "the run says that it is paused")
    assert (await the_run(database))["progress"]["done"] == done
    await sevenp_worker(environment, "jobs", "cancel", run)
    assert (await commands.ended(again))[0] == ExitCode.CANCELLED


@pytest.mark.slow
async def test_what_nobody_is_at_is_cancelled_at_once_and_cannot_be_paused(
    commands: Commands, environment: dict[str, str], database: Database
) -> None:
    working = commands.start(*ENDLESS, "--interval", "2026-11-21/2026-11-22")
    run = await until_at_work(database)
    working.popen.kill()

    async def killed() -> bool:
        return bool((await seen(environment, run))["state"] == "killed")

    await until(killed, "its lease has run out")
    paused = await sevenp_worker(environment, "jobs", "pause", run)
    assert (paused.code, paused.error) == (
        ExitCode.USAGE,
        f"sevenp-worker: error: {run} is killed: only what is running can be paused",
    )
    resumed = await sevenp_worker(environment, "jobs", "resume", run)
    assert "the command that started it goes on with it" in resumed.error
    assert (await sevenp_worker(environment, "jobs", "cancel", run)).output == f"{run} is cancelled.\n"
    # An interval that was cancelled is not begun again by its schedule.
    code, output = await commands.run(*ENDLESS, "--interval", "2026-11-21/P1D", "--json")
    told = json.loads(output)
    assert code == ExitCode.CANCELLED
    assert (told["run"], told["already_done"], told["status"]) == (run, True, "cancelled")
    unknown = await sevenp_worker(environment, "jobs", "cancel", "nothing")
    assert (unknown.code, "there is no run nothing" in unknown.error) == (ExitCode.USAGE, True)


async def test_a_second_start_ends_with_its_own_code_and_the_first_goes_on(
    commands: Commands, database: Database
) -> None:
    working = commands.start(*ENDLESS)
    run = await until_at_work(database)
    code, output = await commands.run(*ENDLESS, "--json", SEVENP_OPERATOR="ben")
    assert code == ExitCode.HELD
    assert "count:one is being run by anna@" in output
    assert f"sevenp-worker jobs cancel {run}" in output
    assert working.returncode is None
    assert (await the_run(database))["attempts"] == 1


@pytest.mark.slow
async def test_a_process_that_was_frozen_and_taken_over_writes_nothing_more(
    commands: Commands, database: Database
) -> None:
    steps = ("80", "one", "--step-s", "0.01")
    frozen = commands.start(*steps)
    await until_at_work(database)
    frozen.popen.send_signal(signal.SIGSTOP)
    code, output = await commands.run(*steps, SEVENP_OPERATOR="ben")
    assert code == ExitCode.OK, output
    assert code == ExitCode.OK, output
    after = await the_run(database)
    frozen.popen.send_signal(signal.SIGCONT)
    code, output = await commands.ended(frozen)
    assert code == ExitCode.TAKEN_OVER
    assert "another process has taken this run over" in output
    assert await the_run(database) == after
    assert (after["attempts"], after["counts"], after["status"]) == (2, {"counted": 80}, "succeeded")
    assert sorted(await audited(database)) == [("count", "anna", "failed"), ("count", "ben", "done")]


@pytest.mark.slow
async def test_runs_are_listed_and_wrong_arguments_told(
    commands: Commands, environment: dict[str, str], database: Database
) -> None:
    assert (await sevenp_worker(environment, "jobs", "list")).output == "No runs.\n"
    code, output = await commands.run("2", "one", "--dry-run", "--json")
    told = json.loads(output)
    assert (code, told["counts"], told["outcome"], told["dry_run"]) == (
        0,
        {"counted": 2},
        {"reached": 2},
        True,
    )
    assert (await database.cache.count_documents({}), await audited(database)) == (0, [])
    listed = await sevenp_worker(environment, "jobs", "list")
    assert told["run"] in listed.output
    assert "2 of 2" in listed.output
    code, output = await commands.run("2", "one", "--interval", "tomorrow")
    assert (code, "'tomorrow' is no interval: write start/duration" in output) == (ExitCode.USAGE, True)
    wrong = await sevenp_worker(environment, "jobs", "run", "reduild")
    assert (wrong.code, "there is no job reduild" in wrong.output) == (ExitCode.USAGE, True)


@pytest.mark.slow
async def test_a_range_is_run_interval_by_interval_and_what_is_done_is_left_out(
    environment: dict[str, str], database: Database
) -> None:
    """By the name of a job that is registered."""
    job = ("jobs", "run", "rebuild-progress", "parallel=1")
    one = await sevenp_worker(environment, *job, "--interval", "2026-11-02/2026-11-03", "--json")
    assert one.code == ExitCode.OK, one.output
    days = ("--from", "2026-11-01", "--to", "2026-11-04", "--every", "P1D")
    several = await sevenp_worker(environment, *job, *days, "--json")
    assert several.code == ExitCode.OK, several.output
    told = [
        (each["interval"], each["already_done"], each["arguments"]["parallel"])
        for each in json.loads(several.output)
    ]
    assert told == [("2026-11-01/P1D", False, 1), ("2026-11-02/P1D", True, 1), ("2026-11-03/P1D", False, 1)]
    shown = await sevenp_worker(environment, *job, *days)
    assert shown.output.count("succeeded, before: ") == 3
    listed = await sevenp_worker(environment, "jobs", "list", "--job", "rebuild-progress", "--limit", "2")
    assert (listed.output.count("/P1D"), listed.output.count("succeeded")) == (2, 2)
    assert [
        row["arguments"].get("interval") for row in await database.audit.find({}).sort("at", 1).to_list(None)
    ] == [
        "2026-11-02/P1D",
        "2026-11-01/P1D",
        "2026-11-03/P1D",
    ]


@pytest.mark.slow
def test_a_terminal_shows_a_bar_and_stdout_nothing_but_the_summary(environment: dict[str, str]) -> None:
    terminal, ours = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.job_command", "40", "one", "--step-s", "0.05", "--json"],
        env={**os.environ, **environment, "TERM": "xterm", "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=ours,
    )
    os.close(ours)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that nobody writes to it any more
        while some := os.read(terminal, 4_096):
            shown += some
    os.close(terminal)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == ExitCode.OK, shown
    assert json.loads(output)["counts"] == {"counted": 40}
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown).decode()
    assert re.search(r"count .+ \d+ of 40 \d+/s 0:00:\d\d", text), text
    assert "sevenp-worker:" not in text


@pytest.mark.long
async def test_a_run_killed_at_any_of_its_writes_goes_on_and_is_done_once(
    commands: Commands, database: Database
) -> None:
    async def trial(number: int, when: str) -> int | None:
        """Kill one run at a write, start it again, and compare; returns how often it was killed."""
        name = f"{when}-{number}"
        code, _ = await commands.run("2", name, KILL_AT=f"{number}:{when}")
        if code != -signal.SIGKILL:
            assert code == ExitCode.OK
            return None
        code, output = await commands.run("2", name)
        assert code == ExitCode.OK, (name, output)
        runs = await database.job_runs.find({"arguments.name": name}).to_list(None)
        # After the last state was saved a further start is a new run: it was done, and is done again.
        finished = [(run["status"], run["counts"], run["progress"]["done"]) for run in runs]
        assert finished[-1] == ("succeeded", {"counted": 2}, 2), (name, runs)
        assert {each[0] for each in finished} == {"succeeded"}, (name, runs)
        assert await database.cache.count_documents({"_id": {"$regex": f"^{name}:"}}) == 2
        rows = await database.audit.find({"arguments.name": name}).sort("at", 1).to_list(None)
        assert rows[-1]["status"] == "done", (name, rows)
        return number

    killed = [
        await asyncio.gather(*(trial(number, when) for number in some))
        for when in ("before", "after")
        for some in (range(1, 11), range(11, 21), range(21, MOST_WRITES))
    ]
    numbers = [number for some in killed for number in some if number is not None]
    # Lease, run, audit, total, two effects and two saves, end, outcome of the audit, lease: twice.
    assert len(numbers) >= 2 * 11
    assert MOST_WRITES - 1 not in numbers
