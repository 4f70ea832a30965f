"""Every line the worker can log has names in one style, and can be found in the source."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from projections.catalogue import CATALOGUE
from tests.support.log_calls import LOGGER, PLACEHOLDER, ROOT, LogCall, Opaque, calls_in, log_calls
from tests.support.log_page import PAGE, brought_up_to_date, rows_of, rows_of_source
from worker.telemetry.logs import FIRST

SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
# Every line has these by itself, or they are written below it.
RESERVED = {*FIRST, "stack", "message", "exc_info"}


def mistakes(calls: tuple[LogCall, ...]) -> Iterator[str]:
    for call in calls:
        if not SNAKE.fullmatch(call.event.replace(PLACEHOLDER, "name")):
            yield f"{call.where}: the event {call.event!r} is not in snake_case"
        for field in call.fields:
            if not SNAKE.fullmatch(field) or field in RESERVED:
                yield f"{call.where}: {call.event} has a field {field!r}"


def test_every_event_and_field_has_a_name_in_snake_case() -> None:
    calls = log_calls()
    assert len(calls) > 100
    assert list(mistakes(calls)) == []


def test_what_is_put_into_the_names_of_events_is_in_snake_case_too() -> None:
    names = [*CATALOGUE.names]
    assert names
    assert [name for name in names if not SNAKE.fullmatch(name)] == []


@pytest.mark.parametrize(
    ("source", "mistake"),
    [
        ('log.info("Batch done")', "'Batch done' is not in snake_case"),
        ('log.info("batch-done")', "is not in snake_case"),
        ('log.info(f"{self.name} done")', "is not in snake_case"),
        ('log.warning("batch_done", batchSize=1)', "a field 'batchSize'"),
        ('log.warning("batch_done", level=1)', "a field 'level'"),
        ('log.bind(topicName=1).info("batch_done")', "a field 'topicName'"),
        ('told = log.bind(topicName=1)\ntold.error("batch_done")', "a field 'topicName'"),
        ('Wait(log, clock, "Waits")', "is not in snake_case"),
    ],
)
def test_a_name_in_another_style_is_found(tmp_path: Path, source: str, mistake: str) -> None:
    (tmp_path / "module.py").write_text(f"{LOGGER}\n{source}")
    found = list(mistakes(tuple(calls_in(tmp_path / "module.py"))))
    assert found
    assert all(mistake in each for each in found)


@pytest.mark.parametrize(
    "source",
    [
        "log.info(event)",
        'log.info(f"{event}_done")',
        'log.info("batch_done", **fields)',
        'log.info("batch of %s", 3)',
        'log.log(20, "batch_done")',
    ],
)
def test_what_cannot_be_read_in_the_source_is_refused(tmp_path: Path, source: str) -> None:
    (tmp_path / "module.py").write_text(f"{LOGGER}\n{source}")
    with pytest.raises(Opaque):
        list(calls_in(tmp_path / "module.py"))


def test_events_that_other_pages_name_exist() -> None:
    """What the documents say the log says: in backquotes, beside the words."""
    known = re.compile("|".join(event.replace(PLACEHOLDER, r"\w+") for event in rows_of_source({})))
    for page in sorted((ROOT / "docs").glob("*.md")):
        for name in re.findall(r"log (?:says|line) `(\w+)`", page.read_text(encoding="utf-8")):
            assert known.fullmatch(name), f"{page.name}: {name}"


def test_every_logger_is_found_by_the_name_that_is_looked_for() -> None:
    """One under another name would log what no test sees."""
    for path in sorted((ROOT / "worker").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        made = re.findall(r"^.*structlog\.(?:stdlib\.)?get_logger\(.*$", source, re.MULTILINE)
        assert made in ([], [LOGGER]), path
        assert not re.search(r"getLogger\([^)]*\)\.(debug|info|warning|error)", source), path


def test_a_table_is_brought_up_to_date_and_what_is_new_waits_for_its_meaning() -> None:
    page = PAGE.read_text(encoding="utf-8")
    row = next(line for line in page.splitlines(keepends=True) if line.startswith("| `started` |"))
    assert brought_up_to_date(page) == page
    without = brought_up_to_date(page.replace(row, "| `gone` | info | | It is not logged any more. |\n"))
    assert "`gone`" not in without
    assert without.count("| ? |") == 1
    assert without.replace("| ? |", f"| {rows_of(page)['started'].meaning} |") == page
