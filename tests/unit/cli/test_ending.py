"""A command ends with its code, whatever it leaves behind."""

import subprocess
import sys

import pytest

from tests.support.waiting import LIMIT_S
from worker.app.exits import ExitCode

# A task that cannot be cancelled, as one of a library that waits for a lock which nobody will ever give back.
_STUBBORN = """
import asyncio
from worker.cli.ending import end_with
from worker.errors import Refused
from worker.telemetry.logs import configure_logging

async def stubborn():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

async def work():
    task = asyncio.create_task({left}(), name="left")
    await asyncio.sleep(0)
    globals()["kept"] = task
    {end}

async def harmless():
    await asyncio.sleep(3600)

configure_logging()
end_with(work)
"""


def ended(left: str, end: str) -> subprocess.CompletedProcess[str]:
    code = _STUBBORN.format(left=left, end=end)
    return subprocess.run(  # noqa: S603  # our own code
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("return 0", ExitCode.OK),
        ("return 6", ExitCode.DRAIN_OVERDUE),
        ("raise Refused('no')", ExitCode.USAGE),
    ],
)
def test_a_task_that_does_not_end_is_left_behind_and_named(end: str, code: ExitCode) -> None:
    result = ended("stubborn", end)
    assert result.returncode == code
    assert '"tasks_left_behind"' in result.stderr
    assert '"left"' in result.stderr


def test_a_task_that_ends_when_told_to_is_nothing_to_speak_of() -> None:
    result = ended("harmless", "return 0")
    # `typer.Exit` is typer's to turn into a code: plain Python shows it.
    assert "tasks_left_behind" not in result.stderr
    assert "Exit" in result.stderr
