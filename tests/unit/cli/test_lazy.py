"""Commands are imported when they are called: whoever asks for help or completes a line waits for none of them."""

import os
import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tests.support.waiting import LIMIT_S
from worker.cli.commands import COMMANDS, app
from worker.cli.lazy import Entry

# Each takes longer than all that a list of commands needs.
HEAVY = {"pydantic", "pymongo", "aiokafka", "prometheus_client", "structlog", "rich", "orjson"}


def modules_after(*arguments: str, **environment: str) -> tuple[str, set[str]]:
    """What the process printed, and the modules that it had imported when it ended."""
    script = (
        "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.__stderr__));"
        " from worker.__main__ import main; main()"
    )
    command = [sys.executable, "-c", script, *arguments]
    ended = subprocess.run(  # noqa: S603 - our own interpreter on a script of ours
        command,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env={**os.environ, **environment},
    )
    return ended.stdout, set(ended.stderr.split())


def shown_of(command: Any, limit: int) -> str:
    shown: str = command.get_short_help_str(limit)
    return shown


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_the_list_says_of_each_command_what_its_own_help_begins_with(entry: Entry) -> None:
    told: Any = typer.main.get_command(app)
    real = entry.command()
    assert real.name == entry.name
    for limit in (40, 60, 200):
        stub = next(each for name, each in told.commands.items() if name == entry.name)
        assert shown_of(stub, limit) == shown_of(real, limit)


def test_a_command_is_the_real_one_when_it_is_taken_and_stays_so() -> None:
    told: Any = typer.main.get_command(app)
    queue = told.commands["queue"]
    assert set(queue.commands) >= {"list", "show", "retry"}
    assert told.commands["queue"] is queue
    with pytest.raises(KeyError):
        told.commands["queues"]


def test_the_list_of_commands_imports_none_of_them() -> None:
    said, imported = modules_after("--help", COLUMNS="200")
    assert "Exit codes:" in said
    assert all(f"\n  {each.name} " in said for each in COMMANDS)
    assert not imported & HEAVY
    assert not imported & {each.module for each in COMMANDS}


@pytest.mark.parametrize(
    ("line", "expected"), [("sevenp-worker que", {"queue"}), ("sevenp-worker dead-", {"dead-letters"})]
)
def test_what_a_shell_completes_imports_no_other_command(line: str, expected: set[str]) -> None:
    said, imported = modules_after(
        _SEVENP_WORKER_COMPLETE="complete_bash",
        COMP_WORDS=line,
        COMP_CWORD="1",
        _TYPER_COMPLETE_ARGS=line,
    )
    assert set(said.split()) == expected
    assert not imported & (HEAVY - {"rich", "pydantic"}), "typer has its own use for these two"
    assert not imported & {each.module for each in COMMANDS}


def test_a_command_that_is_misspelt_is_told_with_the_one_that_was_meant() -> None:
    result = CliRunner().invoke(app, ["ques"])
    assert result.exit_code == 2
    assert "'queue'" in result.output


def test_the_help_of_one_command_imports_no_other() -> None:
    said, imported = modules_after("control", "show", "--help")
    assert "SEVENP_ENVIRONMENT" in said
    others = {each.module for each in COMMANDS} - {"worker.cli.control"}
    assert not imported & others
