"""The scheduler as a process: killed at each of its writes, two at once, stopped, and asked what it would do."""

import json
import signal
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.integration.jobs.conftest import Commands
from tests.support.commands import sevenp_worker
from tests.support.waiting import until
from tests.support.worker_pool import shared_pool
from worker.app.exits import ExitCode
from worker.devstack.servers.process import ServerProcess
from worker.storage.database import Database, Document

STEPS = 2
MODULE = "tests.support.schedule_command"


class Firing:
    """An entry that was due some minutes ago, and will not be due again for a day."""

    def __init__(self, folder: Path, name: str, step_s: float = 0.0) -> None:
        self._at = datetime.now(UTC) - timedelta(minutes=5)
        self.name, self.cron = name, f"{self._at:%M} {self._at:%H} * * *"
        self.file = folder / f"{name}.toml"
        arguments = {"to": STEPS, "name": name, "step_s": step_s}
        given = "\n".join(f"{key} = {json.dumps(value)}" for key, value in arguments.items())
        self.file.write_text(f'[{name}]\njob = "count"\ncron = "{self.cron}"\n[{name}.arguments]\n{given}\n')

    async def make_due(self, database: Database) -> None:
        """As if a scheduler had followed it an hour ago."""
        position = {"handled_until": self._at - timedelta(hours=1), "busy_from": None, "busy_until": None}
        await database.schedule_positions.insert_one({"_id": f"{self.name}: {self.cron} UTC", **position})

    async def is_handled(self, database: Database) -> bool:
        """Whether it has been run, and its position has moved there."""
        wanted = {
            "_id": f"{self.name}: {self.cron} UTC",
            "handled_until": {"$gt": self._at - timedelta(minutes=2)},
        }
        return await database.schedule_positions.count_documents(wanted) == 1

    async def runs(self, database: Database) -> list[Document]:
        return await database.job_runs.find({"arguments.name": self.name}).to_list(None)


@pytest.fixture
def start(commands: Commands, tmp_path: Path) -> Any:
    """Starts a scheduler of one entry as a process."""

    def started(firing: Firing, **environment: str) -> ServerProcess:
        process = shared_pool().start(
            "schedule",
            tmp_path / f"schedule-{len(commands.started)}.log",
            {
                **commands.environment,
                "SEVENP_HTTP_PORT": "0",
                "SEVENP_SCHEDULE_FILE": str(firing.file),
                **environment,
            },
            (),
            MODULE,
        )
        commands.started.append(process)
        return process

    return started


@pytest.mark.long
async def test_killed_at_any_of_its_writes_the_next_one_runs_the_firing_once(
    start: Any, database: Database, tmp_path: Path
) -> None:
    """Before each: one after the other, they leave what a death behind the write before leaves."""
    for number in count(1):
        if not await _is_killed_and_followed(f"{number}:before", start, database, tmp_path):
            break  # it has no more writes than that
    # Lease, run, audit, two steps with two writes each, the ends of run, audit and lease, and the position.
    assert number > 10


async def _is_killed_and_followed(kill_at: str, start: Any, database: Database, folder: Path) -> bool:
    """Whether a first scheduler was killed there; a second one has done the rest in any case."""
    firing = Firing(folder, "at-" + kill_at.replace(":", "-"))
    await firing.make_due(database)
    first = start(firing, KILL_AT=kill_at)

    async def over() -> bool:
        return first.returncode is not None or await firing.is_handled(database)

    await until(over, f"the scheduler is killed at {kill_at}, or has done all")
    second = start(firing)
    await until_handled(firing, database, second)
    codes = [await ended(process) for process in (first, second)]
    assert codes[1] == ExitCode.OK, second.log.read_text()
    (run,) = await firing.runs(database)
    assert (run["status"], run["counts"]) == ("succeeded", {"counted": STEPS})
    return codes[0] == -signal.SIGKILL


async def until_handled(firing: Firing, database: Database, process: ServerProcess) -> None:
    """Wait while the process works on it."""

    async def handled() -> bool:
        assert process.returncode is None, process.log.read_text()
        return await firing.is_handled(database)

    await until(handled, "the firing is handled")


async def ended(process: ServerProcess) -> int:
    """Its exit code, after a SIGTERM if it has not ended by itself: once it has begun, and listens to signals."""
    await until(
        lambda: process.returncode is not None or "schedule_entry" in process.log.read_text(), "it begins"
    )
    if process.returncode is None:
        process.popen.send_signal(signal.SIGTERM)
    await until(lambda: process.returncode is not None, "it ends")
    return process.popen.wait()


@pytest.mark.slow
async def test_of_two_schedulers_one_runs_it_and_when_that_is_killed_the_other_goes_on(
    start: Any, database: Database, tmp_path: Path
) -> None:
    firing = Firing(tmp_path, "long", step_s=2.0)
    await firing.make_due(database)
    both = {process.popen.pid: process for process in (start(firing), start(firing))}

    async def at_work() -> Document | None:
        return await database.job_runs.find_one({"status": "running", "progress.done": {"$gte": 1}})

    working = await until(at_work, "one of them is at work")
    victim = both.pop(working["process"])
    victim.popen.kill()
    ((other, process),) = both.items()
    await until_handled(firing, database, process)
    (run,) = await firing.runs(database)
    assert (run["status"], run["process"], run["attempts"]) == ("succeeded", other, 2)
    assert run["counts"] == {"counted": STEPS}


@pytest.mark.slow
async def test_told_to_stop_it_ends_with_0_and_its_run_waits_for_the_next(
    start: Any, database: Database, tmp_path: Path
) -> None:
    firing = Firing(tmp_path, "endless", step_s=60.0)
    await firing.make_due(database)
    process = start(firing)
    await until(lambda: firing.runs(database), "the run has begun")
    assert await ended(process) == ExitCode.OK, process.log.read_text()
    (run,) = await firing.runs(database)
    assert run["status"] == "stopped"
    assert not await firing.is_handled(database)


async def test_a_dry_run_names_what_is_wrong_and_needs_no_server(tmp_path: Path) -> None:
    path = tmp_path / "schedule.toml"
    path.write_text('[nightly]\njob = "nobodys"\ncron = "30 2 * * *"\n')
    nobody = {"SEVENP_MONGODB_URI": "mongodb://127.0.0.1:1/?replicaSet=rs0"}
    ended = await sevenp_worker(nobody, "schedule", "--file", str(path), "--dry-run")
    assert ended.code == ExitCode.USAGE
    assert "sevenp-worker: error: entry nightly: there is no job 'nobodys'; there is " in ended.output
    assert "1 entry cannot run" in ended.output


async def test_a_file_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    ended = await sevenp_worker({}, "schedule", "--file", str(tmp_path / "none.toml"))
    assert ended.code == ExitCode.USAGE
    assert ended.error.endswith("none.toml cannot be read: No such file or directory")
