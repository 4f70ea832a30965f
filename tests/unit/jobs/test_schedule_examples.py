"""The examples for schedulers say what the command understands: each is run against a stand-in for it."""

import ast
import os
import re
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml

from tests.support.waiting import LIMIT_S, wait_until
from worker.cli.commands import app
from worker.jobs.catalogue import JOBS, job_named
from worker.jobs.interval import Interval, parse_interval
from worker.jobs.schedule.cron import Cron
from worker.jobs.schedule.entry import read_schedule

FOLDER = Path(__file__).parents[3] / "deploy" / "schedule"
DOCUMENTS = Path(__file__).parents[3] / "docs"


class StandIn:
    """`sevenp-worker` on a path of its own: writes down its arguments, and ends with the code it is told."""

    def __init__(self, folder: Path) -> None:
        self._log, self._folder = folder / "called", folder
        command = folder / "sevenp-worker"
        command.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$@" > {self._log}\n'
            '[ -z "$SLEEPS" ] || { trap "exit 130" TERM; sleep 60 & wait; }\nexit ${CODE:-0}\n'
        )
        command.chmod(0o755)

    def start(self, shell_command: str, code: int = 0, **environment: str) -> "subprocess.Popen[bytes]":
        given = {"PATH": f"{self._folder}:{os.environ['PATH']}", "CODE": str(code), **environment}
        return subprocess.Popen(["/bin/sh", "-c", shell_command], env=given)  # noqa: S603 - our own examples

    def run(self, shell_command: str, code: int = 0) -> int:
        """The shell's exit code."""
        return self.start(shell_command, code).wait(LIMIT_S)

    @property
    def called(self) -> list[str] | None:
        """The arguments it was given."""
        return self._log.read_text().splitlines() if self._log.exists() else None


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path)


def understood(arguments: Sequence[str] | None) -> dict[str, Any]:
    """What the real command makes of arguments; a job it does not know, or a wrong option, fails."""
    assert arguments is not None
    command: Any = typer.main.get_command(app)
    names = list(arguments)
    while isinstance(command, click.Group) or hasattr(command, "commands"):
        command = command.commands[names.pop(0)]
    given: dict[str, Any] = command.make_context("sevenp-worker", names).params
    if "name" in given:
        assert job_named(given["name"]) is not None, given["name"]
    return given


def interval_of(arguments: Sequence[str] | None) -> Interval:
    return parse_interval(understood(arguments)["interval"])


def yesterday() -> Interval:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Interval(today - timedelta(days=1), today)


def test_the_schedule_is_right() -> None:
    written = tomllib.loads((FOLDER / "schedule.toml").read_text(encoding="utf-8"))
    schedule = read_schedule(list(written.items()), JOBS)
    assert schedule.mistakes == ()
    assert len(schedule.entries) == len(written) == 4


def test_the_entries_in_documents_are_right() -> None:
    pages = [path.read_text(encoding="utf-8") for path in DOCUMENTS.glob("*.md")]
    blocks = [each for page in pages for each in re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)]
    schedules = [read_schedule(list(tomllib.loads(block).items()), JOBS) for block in blocks]
    assert len(schedules) >= 2
    assert [each.mistakes for each in schedules] == [()] * len(schedules)


@pytest.mark.parametrize(("code", "ends_with"), [(0, 0), (8, 0), (10, 0), (4, 1), (7, 1)])
def test_cron_runs_the_job_for_yesterday(stand_in: StandIn, code: int, ends_with: int) -> None:
    lines = (FOLDER / "crontab").read_text(encoding="utf-8").splitlines()
    (line,) = [each for each in lines if re.match(r"[0-9*]", each)]
    *fields, _user, command = line.split(maxsplit=6)
    Cron.parse(" ".join(fields), "UTC")
    command = command.replace("\\%", "%").replace(". /etc/sevenp-worker/env;", "")
    assert stand_in.run(command, code) == ends_with
    assert interval_of(stand_in.called) == yesterday()


def test_systemd_runs_the_job_for_yesterday(stand_in: StandIn) -> None:
    service = (FOLDER / "sevenp-job@.service").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ExecStart=/bin/sh -c '(.*)'$", service, flags=re.MULTILINE)
    assert stand_in.run(command.replace("%i", "rebuild-progress").replace("%%", "%")) == 0
    assert interval_of(stand_in.called) == yesterday()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_systemd_finds_nothing_wrong_with_its_units(tmp_path: Path) -> None:
    units = []
    for kind in ("service", "timer"):
        units.append(tmp_path / f"sevenp-job@rebuild-progress.{kind}")
        shutil.copy(FOLDER / f"sevenp-job@.{kind}", units[-1])
    verified = subprocess.run(  # noqa: S603 - our own files
        ["systemd-analyze", "verify", *map(str, units)],  # noqa: S607 - wherever it is
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, "")


def container(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The specification of an example for Kubernetes, and its one container."""
    document = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    specification: dict[str, Any] = document["spec"]
    pods = specification.get("jobTemplate", {}).get("spec", specification)["template"]["spec"]
    (only,) = pods["containers"]
    return specification, only


@pytest.mark.parametrize(("code", "ends_with"), [(0, 0), (8, 0), (10, 0), (4, 4), (2, 2)])
def test_a_cronjob_runs_the_job_for_yesterday(stand_in: StandIn, code: int, ends_with: int) -> None:
    specification, only = container("cronjob.yaml")
    Cron.parse(specification["schedule"], specification["timeZone"])
    shell, option, command = only["command"]
    assert (shell, option) == ("/bin/sh", "-c")
    assert stand_in.run(command, code) == ends_with
    assert interval_of(stand_in.called) == yesterday()


def test_a_pod_of_a_cronjob_that_is_stopped_tells_the_job_and_waits_for_it(stand_in: StandIn) -> None:
    _, only = container("cronjob.yaml")
    pod = stand_in.start(only["command"][2], SLEEPS="1")
    wait_until(lambda: stand_in.called is not None, "the job has begun")
    pod.send_signal(signal.SIGTERM)
    assert pod.wait(LIMIT_S) == 130


def test_a_deployment_runs_two_schedulers() -> None:
    specification, only = container("scheduler.yaml")
    assert specification["replicas"] == 2
    assert understood(only["args"])["file"] == Path("/etc/sevenp-worker/schedule.toml")


def test_airflow_runs_the_job_for_its_data_interval(stand_in: StandIn) -> None:
    """The file is Python; Airflow's own names stand between braces."""
    tree = ast.parse((FOLDER / "airflow_dag.py").read_text(encoding="utf-8"))
    calls = [each for each in ast.walk(tree) if isinstance(each, ast.keyword) and each.arg == "bash_command"]
    command = str(ast.literal_eval(calls[0].value))
    begin, end = "2026-11-21T00:00:00+00:00", "2026-11-22T00:00:00+00:00"
    command = command.replace("{{ data_interval_start | ts }}", begin)
    command = command.replace("{{ data_interval_end | ts }}", end)
    assert stand_in.run(command) == 0
    assert str(interval_of(stand_in.called)) == "2026-11-21/P1D"
