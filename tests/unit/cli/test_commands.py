"""The command line teaches, and fails with one line and a code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.waiting import LIMIT_S
from worker.app.exits import ExitCode
from worker.cli.commands import app
from worker.contract.families import EVENT_TYPES, families_of
from worker.contract.family import Inlet
from worker.settings import setting_lines


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner()


def test_help_lists_commands_examples_and_every_exit_code(runner: CliRunner) -> None:
    shown = runner.invoke(app, ["--help"]).output
    for command in ("run", "publish", "verify", "schema", "contract", "demo"):
        assert f"\n  {command} " in shown
    assert "sevenp-worker publish events.jsonl.gz" in shown
    for code in ExitCode:
        assert f" {code.value}  " in shown


def test_help_of_run_explains_every_setting(runner: CliRunner) -> None:
    shown = runner.invoke(app, ["run", "--help"]).output
    for line in setting_lines():
        assert f"{line.variable}={line.default}" in shown
        assert line.description in " ".join(shown.split())
    described = [line for line in shown.splitlines() if not line.lstrip().startswith("SEVENP_")]
    assert max(map(len, described)) <= 80


@pytest.mark.parametrize(
    "command",
    [["publish"], ["verify"], ["schema", "apply"], ["schema", "check"], ["contract", "export"], ["demo"]],
)
def test_every_command_has_help(runner: CliRunner, command: list[str]) -> None:
    result = runner.invoke(app, [*command, "--help"])
    assert result.exit_code == ExitCode.OK
    assert "--help" in result.output


def test_a_format_without_a_file_is_refused_before_anything_starts(runner: CliRunner) -> None:
    result = runner.invoke(app, ["demo", "--format", "xapi"])
    assert result.exit_code == ExitCode.USAGE
    assert "--input" in result.output


def test_the_contract_is_exported(runner: CliRunner, tmp_path: Path) -> None:
    result = runner.invoke(app, ["contract", "export", str(tmp_path)])
    assert result.exit_code == ExitCode.OK
    files = [Path(line) for line in result.output.splitlines()]
    assert len(files) == len(EVENT_TYPES) + len([inlet for inlet in Inlet if families_of(inlet)])
    for file in files:
        assert json.loads(file.read_text())


def _run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """A process of its own, for commands that take over the process's signals."""
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "worker", *arguments],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@pytest.mark.slow
def test_a_misspelt_setting_ends_with_one_line_and_code_2() -> None:
    finished = _run("run", SEVENP_TOPICS="x")
    assert finished.returncode == ExitCode.USAGE
    assert finished.stderr.splitlines() == [
        "sevenp-worker: error: SEVENP_TOPICS is not a setting: did you mean SEVENP_TOPIC?"
    ]


def test_a_missing_file_ends_with_code_2(runner: CliRunner, tmp_path: Path) -> None:
    result = runner.invoke(app, ["publish", str(tmp_path / "absent.jsonl")])
    assert result.exit_code == ExitCode.USAGE
    assert "absent.jsonl" in result.stderr


def test_a_broker_that_does_not_answer_ends_with_code_4(runner: CliRunner, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("{}\n")
    env = {"SEVENP_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    result = runner.invoke(app, ["publish", str(file)], env=env)
    assert result.exit_code == ExitCode.UNREACHABLE
    assert "127.0.0.1:1" in result.stderr


def test_an_unknown_command_ends_with_code_2() -> None:
    finished = _run("fly")
    assert finished.returncode == ExitCode.USAGE
    assert "No such command 'fly'" in finished.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a FILE"),
        (["--from-store"], "--from-store needs --topic"),
        (["--from-store", "--topic", "t", "-"], "are not for --from-store"),
        (["--from-store", "--topic", "t", "--check"], "are not for --from-store"),
        (["-", "--rate", "5"], "only for --from-store"),
        (["-", "--dry-run"], "only for --from-store"),
        (["-", "--course", "65a4f0c2e13b7a0001aaaaaa"], "only for --from-store"),
    ],
)
def test_publish_says_which_of_its_options_go_together(
    runner: CliRunner, arguments: list[str], words: str
) -> None:
    result = runner.invoke(app, ["publish", *arguments])
    assert result.exit_code == ExitCode.USAGE
    assert words in " ".join(result.output.replace("│", " ").split())
