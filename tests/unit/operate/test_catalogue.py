"""Every finding is registered, explained and tried: no file of the catalogue is forgotten."""

import importlib
import re
from pathlib import Path

import pytest

from worker.operate.doctor.catalogue import FINDINGS
from worker.operate.doctor.finding import Finding

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "worker" / "operate" / "doctor"
# What findings share, and what looks for them.
ENGINE = {
    "catalogue",
    "examination",
    "finding",
    "kafka_facts",
    "mongodb_facts",
    "needed_privileges",
    "profile",
    "retention",
    "schema_differences",
    "setup",
    "spans",
}
PAGE = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
TESTS = "\n".join(
    path.read_text(encoding="utf-8")
    for folder in ("unit/operate", "integration/operate", "apache")
    for path in (ROOT / "tests" / folder).glob("test_*.py")
)


def test_every_file_is_a_registered_finding_of_its_name() -> None:
    files = {path.stem for path in FOLDER.glob("[a-z]*.py")}
    names = [finding.name for finding in FINDINGS]
    assert len(names) == len(set(names))
    assert files - ENGINE == set(names)
    for name in names:
        module = importlib.import_module(f"worker.operate.doctor.{name}")
        assert getattr(module, name.upper()) in FINDINGS


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda finding: finding.name)
def test_every_finding_is_explained_in_whole_sentences(finding: Finding) -> None:
    for sentence in (finding.means, finding.fix):
        assert re.fullmatch(r"[A-Za-z`].*\.", sentence), sentence
    assert f"| `{finding.name}` | {finding.severity} | {finding.means} | {finding.fix} |" in PAGE


def test_the_page_has_no_finding_that_there_is_not() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (?:error|warning|advice) \|", PAGE, flags=re.MULTILINE)
    assert rows == [finding.name for finding in FINDINGS]


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda finding: finding.name)
def test_every_finding_has_a_test_of_its_name(finding: Finding) -> None:
    assert re.search(rf"^(?:async )?def test_{finding.name}\(", TESTS, flags=re.MULTILINE)
