"""The documents say what the code does."""

import importlib
import re
import shutil
import subprocess
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.log_page import PAGE as LOGS_PAGE
from tests.support.log_page import rows_of, rows_of_source
from tests.support.waiting import LIMIT_S
from worker.app.exits import ExitCode
from worker.cli.commands import app
from worker.contract import export
from worker.contract.codec import decode_event, encode
from worker.contract.event import Event
from worker.contract.events.interactions import INTERACTIONS
from worker.jobs.catalogue import JOBS
from worker.kafka.files import read_records
from worker.settings import setting_lines
from worker.telemetry.metrics import declared_metrics
from worker.telemetry.metrics_page import page
from worker.verify.findings import (
    CONTEST_FAULTS,
    READ_MODEL_FAULTS,
    STREAM_PROJECTION_FAULTS,
    SUM_PROJECTION_FAULTS,
    Kind,
    ProjectionCounts,
    Tally,
)

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
VERIFY = (ROOT / "docs" / "verify.md").read_text(encoding="utf-8")
FAULTS = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
JOBS_PAGE = (ROOT / "docs" / "jobs.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
LOGS = LOGS_PAGE.read_text(encoding="utf-8")


def _snippets() -> list[str]:
    """The lines of the README's shell blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.mark.parametrize("line", [line for line in _snippets() if line.startswith("make")])
def test_make_knows_the_targets_and_variables_of_the_readme(line: str) -> None:
    make = shutil.which("make")
    assert make is not None
    finished = subprocess.run(  # noqa: S603 - prints what it would do
        [make, "--dry-run", *line.split()[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    for assignment in re.findall(r"\w+=(\S+)", line):
        assert assignment in finished.stdout or assignment == "1"


@pytest.mark.parametrize("name", sorted(set(re.findall(r"INPUT=(\S+)", "\n".join(_snippets())))))
def test_files_that_the_readme_reads_are_in_a_clone_and_hold_valid_events(name: str) -> None:
    format_ = "xapi" if f"INPUT={name} FORMAT=xapi" in README else "native"
    records = list(read_records(ROOT / name, format_))  # type: ignore[arg-type]
    assert len(records) >= 10
    for record in records:
        assert isinstance(decode_event(record.value or b"", timestamp=datetime.now(UTC)), Event)


def test_the_example_file_is_what_the_contract_exports() -> None:
    lines = b"".join(encode(event) + b"\n" for event in export.examples((INTERACTIONS,)).values())
    assert (ROOT / "docs" / "examples" / "events.jsonl").read_bytes() == lines


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"sevenp-worker ((?:schema |contract )?[a-z]+)(?= |`|\n)", README)))
)
def test_the_commands_of_the_readme_exist(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == ExitCode.OK


def test_the_settings_of_the_readme_exist() -> None:
    named = set(re.findall(r"SEVENP_\w+", README))
    assert named <= {line.variable for line in setting_lines()}


def test_operations_lists_every_setting_with_its_default() -> None:
    for line in setting_lines():
        default = f"`{line.default}`" if line.default else ""
        assert f"| `{line.variable}` | {default} | {line.description} |" in OPERATIONS
    rows = re.findall(r"^\| `SEVENP_", OPERATIONS, flags=re.MULTILINE)
    assert len(rows) == len(setting_lines())


def test_operations_lists_every_exit_code() -> None:
    section = OPERATIONS.partition("## Exit codes")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| (\d+) \|", section, flags=re.MULTILINE)
    assert [int(code) for code in listed] == [code.value for code in ExitCode]


def test_the_page_about_metrics_is_made_from_the_code() -> None:
    made = "python -m worker.telemetry.metrics_page > docs/metrics.md"
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == page(), f"make it anew: {made}"


def test_the_page_about_logs_has_every_event_with_its_level_fields_and_meaning() -> None:
    rows = rows_of(LOGS)
    assert rows == rows_of_source(rows), "python -m tests.support.log_page brings the table up to date"
    assert [event for event, row in rows.items() if not row.meaning.endswith((".", ")"))] == []


def test_the_page_about_jobs_has_a_row_for_every_job() -> None:
    section = JOBS_PAGE.partition("\n## The jobs\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([a-z-]+)` \|.*\| (yes|no) \|$", section, flags=re.MULTILINE))
    assert rows == {job.name: "yes" if job.changes else "no" for job in JOBS}


def _explained(heading: str) -> list[str]:
    """The findings in the first column of the section's table."""
    section = VERIFY.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", section, flags=re.MULTILINE)
    return sorted(re.findall(r"\w+", " ".join(rows)))


def _files_of(heading: str) -> set[str]:
    section = VERIFY.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"`(\w+\.py)`", section))


def test_verify_explains_every_finding() -> None:
    names = [f"{kind}_{fault}" for kind in Kind for fault in kind.faults]
    headings = (
        "Every document",
        "Event store and time series",
        "What waits, and who owns it",
        "What counts wrote",
    )
    assert sorted(name for heading in headings for name in _explained(heading)) == sorted(names)
    assert _explained("Stream projections") == sorted(STREAM_PROJECTION_FAULTS)
    assert _explained("Sums") == sorted(SUM_PROJECTION_FAULTS)
    assert _explained("Read models") == sorted(READ_MODEL_FAULTS)
    assert _explained("Contests") == sorted(CONTEST_FAULTS)


def test_verify_says_of_every_file_what_it_checks() -> None:
    files = {path.name for path in (ROOT / "worker" / "verify").glob("[a-z]*.py")}
    assert _files_of("Which file checks what") == files


def test_verify_explains_every_count_and_the_names_it_had_before() -> None:
    result = Tally().result().to_json()
    counts = (
        "in_flight",
        "rows_expired",
        "statistics_missing",
        "statistics_refused",
        "finding_counts",
        "faults",
        "by_projection",
    )
    aliases = (
        "behind",
        "set_aside",
        "other_projection_version",
        "uncounted",
        "other_counts_version",
        "projections",
    )
    for name in (*counts, *aliases):
        assert f"`{name}`" in VERIFY
        assert name in result
    for each in fields(ProjectionCounts):
        assert f"`{each.name}`" in VERIFY


def _faults() -> list[list[str]]:
    """The cells of the table of faults, row by row."""
    rows = [line for line in FAULTS.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[1:]]


def test_no_fault_stands_twice() -> None:
    names = [fault for fault, *_ in _faults()]
    proofs = [tests for *_, tests in _faults()]
    assert len(set(names)) == len(names)
    assert len(set(proofs)) == len(proofs)


def test_every_fault_names_tests_that_exist() -> None:
    assert len(_faults()) >= 29
    for fault, *_, tests in _faults():
        paths = [part.strip().split(" ") for part in tests.split(";")]
        for path, *names in paths:
            source = (ROOT / "tests" / path.strip("`")).read_text(encoding="utf-8")
            defined = set(re.findall(r"^(?:async )?def (test_\w+)\(", source, flags=re.MULTILINE))
            assert names, fault
            assert {name.strip("`") for name in names} <= defined, fault


def test_every_fault_shows_in_metrics_that_exist() -> None:
    known = set(declared_metrics())
    for fault, _, shown, _ in _faults():
        named = re.findall(r"`([^`]+)`", shown)
        assert named, fault
        assert set(named) <= known | {"/livez", "/readyz"}, fault


_DOTTED = re.compile(r"`((?:projections|contract|ingest|watch|notify|retry|storage)(?:\.\w+)+)`")


@pytest.mark.parametrize("name", sorted(set(_DOTTED.findall(ARCHITECTURE))))
def test_the_map_names_what_there_is(name: str) -> None:
    parts = name.split(".") if name.startswith("projections") else ["worker", *name.split(".")]
    assert _exists(parts), name


def test_the_map_has_a_line_for_every_folder() -> None:
    packages = {path.parent.name for path in (ROOT / "worker").glob("*/__init__.py")}
    assert packages <= set(re.findall(r"^\| `worker/(\w+)/` \|", ARCHITECTURE, flags=re.MULTILINE))


def _exists(parts: list[str]) -> bool:
    """Whether the longest prefix that is a module has the rest as attributes."""
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            found = getattr(found, attribute, None)
        return found is not None
    return False
