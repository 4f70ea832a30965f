"""docs/control.md says what the code does."""

import re
from pathlib import Path
from typing import get_args

import typer

from worker.cli.control import control_app
from worker.operate.control.limits import KNOBS
from worker.operate.control.targets import Kind
from worker.settings import RoleName

PAGE = (Path(__file__).parents[4] / "docs" / "control.md").read_text(encoding="utf-8")


def _section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_every_command_has_a_row() -> None:
    commands = typer.main.get_command(control_app).commands  # type: ignore[attr-defined]
    rows = re.findall(r"^\| `control (\w+)", _section("The commands"), flags=re.MULTILINE)
    assert sorted(rows) == sorted(commands)


def test_every_setting_has_a_row_with_what_it_takes_and_means() -> None:
    section = _section("What can be set")
    for knob in KNOBS:
        assert f"| `{knob.name}` | {knob.takes} | {knob.meaning} |" in section
    assert len(re.findall(r"^\| `", section, flags=re.MULTILINE)) == len(KNOBS)


def test_everything_that_can_be_paused_has_a_row() -> None:
    rows = re.findall(r"^\| `(\w+)", _section("What can be paused"), flags=re.MULTILINE)
    parts = [kind for kind in get_args(Kind) if kind != "role"]
    assert rows == [*RoleName, *parts]
