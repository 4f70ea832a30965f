"""Entries are read one by one: each mistake is named in words, and costs only its own entry."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.jobs import CountArguments, Counting
from worker.errors import Misconfigured
from worker.jobs.schedule.entry import Mistake, read_schedule
from worker.jobs.schedule.sources import entries_in

JOBS = (Counting().job,)
GOOD = {"job": "count", "cron": "30 2 * * *", "time_zone": "Europe/Berlin", "arguments": {"to": 3}}


def test_an_entry_says_which_job_runs_when_and_with_what() -> None:
    (entry,) = read_schedule([("nightly", {**GOOD, "misfire": "all", "overlap": "wait"})], JOBS).entries
    assert (entry.job, entry.arguments) == (JOBS[0], CountArguments(to=3))
    assert (entry.misfire, entry.misfire_limit, entry.overlap) == ("all", 10, "wait")
    assert entry.id == "nightly: 30 2 * * * Europe/Berlin"
    firing = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert entry.interval(firing) == "2026-03-29T01:00:00Z/PT1410M"


def test_a_disabled_entry_is_neither_run_nor_wrong() -> None:
    schedule = read_schedule([("nightly", {**GOOD, "enabled": False})], JOBS)
    assert (schedule.entries, schedule.mistakes) == ((), ())


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("30 2 * * *", "must be an object"),
        (None, "must be an object"),
        ({"cron": "30 2 * * *"}, "job is missing"),
        (
            {**GOOD, "crn": "x", "misfire": "twice"},
            "misfire must be once, skip or all; crn is not known here",
        ),
        ({**GOOD, "misfire_limit": 0}, "misfire_limit must be 1 or more"),
        ({**GOOD, "enabled": "no"}, "enabled must be true or false"),
        (
            {**GOOD, "cron": "30 2 * *"},
            "cron '30 2 * *' must have five fields: minute, hour, day of month, month, day of week",
        ),
        ({**GOOD, "time_zone": "Berlin"}, "time_zone 'Berlin' is no time zone: write Europe/Berlin, or UTC"),
        ({**GOOD, "job": "cuont"}, "there is no job 'cuont'; there is count"),
        ({**GOOD, "arguments": {"to": "far"}}, "arguments.to must be a whole number"),
        ({**GOOD, "arguments": {"too": 3}}, "arguments.too is not known here"),
    ],
)
def test_a_mistake_is_named_and_the_others_run(value: Any, reason: str) -> None:
    schedule = read_schedule([("wrong", value), ("nightly", GOOD)], JOBS)
    assert schedule.mistakes == (Mistake("wrong", reason),)
    assert [entry.name for entry in schedule.entries] == ["nightly"]


@pytest.mark.parametrize("name", ["", "Nightly", "a b", "-a", "x" * 65])
def test_a_name_is_short_and_plain(name: str) -> None:
    (mistake,) = read_schedule([(name, GOOD)], JOBS).mistakes
    assert mistake.reason.startswith("a name has up to 64 small letters")


def test_of_two_entries_of_one_name_none_runs() -> None:
    schedule = read_schedule([("nightly", GOOD), ("nightly", GOOD)], JOBS)
    assert schedule.entries == ()
    assert schedule.mistakes == (Mistake("nightly", "stands there more than once: none of them runs"),)


def test_a_file_has_a_table_for_each_entry(tmp_path: Path) -> None:
    path = tmp_path / "schedule.toml"
    path.write_text('[nightly]\njob = "count"\ncron = "30 2 * * *"\n[nightly.arguments]\nto = 3\n', "utf-8")
    (entry,) = read_schedule(entries_in(path), JOBS).entries
    assert (entry.name, entry.arguments) == ("nightly", CountArguments(to=3))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"[nightly", "it is not TOML: "), (b"\xff", "it is not UTF-8"), (None, "No such file or directory")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "schedule.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Misconfigured, match=f"the schedule .*schedule.toml cannot be read: {reason}"):
        entries_in(path)
