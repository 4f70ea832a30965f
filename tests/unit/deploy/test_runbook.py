"""The runbook has an entry for every alert, and names only commands, settings, metrics and pages that exist."""

import re
import shlex
from typing import Any

import pytest
import typer

from tests.unit.deploy.rules import ROOT, alerts
from worker.cli.commands import app
from worker.settings import setting_lines

DOCS = ROOT / "docs"
RUNBOOK = (DOCS / "runbook.md").read_text(encoding="utf-8")
NAMES = [alert.name for alert in alerts()]
_WORD = re.compile(r"`([a-z]+(?:_[a-z0-9]+)+)(?:\{[^`]*)?`")


def _sections() -> dict[str, str]:
    """The entries: text by heading."""
    parts = re.split(r"^## (.+)$", RUNBOOK, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_alert_has_an_entry_in_their_order_and_nothing_else_has() -> None:
    headings, own = list(_sections()), [alert.name for alert in alerts("alerts.yaml")]
    assert set(headings) == set(NAMES)
    assert [heading for heading in headings if heading in own] == own


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_says_what_it_means_how_to_look_what_to_do_and_when_it_is_over(name: str) -> None:
    section = _sections()[name]
    words = ("**Means**", "**Look**", "**Do**", "**It is over when**")
    assert [section.count(word) for word in words] == [1, 1, 1, 1]
    assert sorted(words, key=section.index) == list(words)


def _commands() -> list[str]:
    return sorted(set(re.findall(r"`sevenp-worker ([^`]+)`", RUNBOOK)))


@pytest.mark.parametrize("line", _commands())
def test_every_command_exists_with_its_options(line: str) -> None:
    command: Any = typer.main.get_command(app)
    rest = shlex.split(line)
    while hasattr(command, "commands"):
        assert rest, f"sevenp-worker {line} is no whole command"
        command = command.commands[rest.pop(0)]
    known = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    assert {word for word in rest if word.startswith("--")} <= known


def test_every_setting_exists() -> None:
    assert set(re.findall(r"SEVENP_\w+", RUNBOOK)) <= {line.variable for line in setting_lines()}


def test_every_metric_field_and_log_line_stands_in_the_code_or_on_another_page() -> None:
    pages = [page for page in DOCS.glob("*.md") if page.name != "runbook.md"]
    known = "\n".join(path.read_text(encoding="utf-8") for path in [*pages, *(ROOT / "worker").rglob("*.py")])
    words = set(re.findall(r"\w+", known))
    assert len(set(_WORD.findall(RUNBOOK))) > 30
    assert {word for word in _WORD.findall(RUNBOOK) if word not in words} == set()


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", RUNBOOK))))
def test_every_link_leads_to_a_page_and_a_heading(link: str) -> None:
    page, _, anchor = link.partition("#")
    text = (DOCS / page).read_text(encoding="utf-8") if page else RUNBOOK
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    assert not anchor or anchor in {_anchor(heading) for heading in headings}


def _anchor(heading: str) -> str:
    """As the pages of a repository are shown: lower case, no punctuation, dashes for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
