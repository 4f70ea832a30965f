"""Which code this is, how it is set, and what a shell completes."""

import json
import os
import platform
import subprocess
import sys

import pymongo
import pytest
from typer.testing import CliRunner

from tests.support.waiting import LIMIT_S
from worker import __version__
from worker.app.exits import ExitCode
from worker.cli.commands import app


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner()


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SEVENP_")]:
        monkeypatch.delenv(name)


def test_the_version_names_everything_that_a_defect_may_depend_on(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEVENP_REVISION", "abc1234")
    monkeypatch.setenv("SEVENP_NO_SETTING", "is no hindrance")
    result = runner.invoke(app, ["--version"])

    assert result.exit_code == ExitCode.OK
    lines = result.output.splitlines()
    assert lines[:3] == [
        f"sevenp-worker {__version__}",
        "revision abc1234",
        f"python {platform.python_version()}",
    ]
    assert lines[3] == f"pymongo {pymongo.version}"
    assert lines[4].startswith("aiokafka 0.")
    assert len(lines) == 5


def test_the_version_is_told_without_importing_the_rest() -> None:
    script = "import sys; from worker.__main__ import main; main(); print(*sys.modules, file=sys.stderr)"
    finished = subprocess.run(  # noqa: S603 - our own interpreter on a script of ours
        [sys.executable, "-c", script, "--version"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    assert finished.stdout.splitlines()[0] == f"sevenp-worker {__version__}"
    loaded = set(finished.stderr.split())
    assert not loaded & {"typer", "rich", "pydantic", "pymongo", "aiokafka", "structlog", "worker.cli"}


def test_without_a_command_the_help_is_shown(runner: CliRunner) -> None:
    shown = runner.invoke(app, []).output

    assert "Learner events from Kafka become versioned events" in shown
    assert "\n  status " in shown
    assert "--show-completion" in shown


def test_settings_show_tells_value_and_source(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEVENP_TOPIC", "events")
    shown = runner.invoke(app, ["settings", "show", "--json"])

    assert shown.exit_code == ExitCode.OK
    told = json.loads(shown.output)
    assert (told["unknown"], told["mistake"]) == ([], None)
    (topic,) = [each for each in told["settings"] if each["variable"] == "SEVENP_TOPIC"]
    assert (topic["value"], topic["source"]) == ("events", "environment")
    changed = json.loads(runner.invoke(app, ["settings", "show", "--changed", "--json"]).output)
    assert [each["variable"] for each in changed["settings"]] == ["SEVENP_TOPIC"]


def test_settings_that_cannot_work_are_shown_and_end_with_2(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEVENP_TOPPIC", "events")
    result = runner.invoke(app, ["settings", "show"])

    assert result.exit_code == ExitCode.USAGE
    assert "SEVENP_TOPPIC is not a setting: did you mean SEVENP_TOPIC?" in result.output
    assert "SEVENP_DRAIN_DEADLINE_S" in result.output


def _completed(words: str, number: int) -> list[str]:
    """What a bash offers for the last of these words."""
    asking = {"_SEVENP_WORKER_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(number)}
    finished = subprocess.run(
        [sys.executable, "-m", "worker"],
        env={**os.environ, **asking},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    return finished.stdout.split()


@pytest.mark.slow
def test_a_shell_completes_commands_and_options() -> None:
    assert _completed("sevenp-worker stat", 1) == ["status"]
    assert set(_completed("sevenp-worker topic ", 2)) == {"check", "apply"}
    assert "--dry-run" in _completed("sevenp-worker topic apply --", 3)


def test_the_completion_is_printed_for_each_shell() -> None:
    for shell in ("bash", "zsh", "fish"):
        finished = subprocess.run(
            [sys.executable, "-m", "worker"],
            env={**os.environ, "_SEVENP_WORKER_COMPLETE": f"source_{shell}"},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=True,
        )
        assert f"complete_{shell}" in finished.stdout
        assert "sevenp-worker" in finished.stdout
