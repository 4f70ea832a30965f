"""The main job on real learners' events and on a file with every kind of bad record, through the command line."""

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.integration.devstack.test_demo import demo, kept_demo
from tests.integration.ingest.bad_records import bad_records
from tests.support.ingest import event
from worker.contract.codec import encode

STATEMENTS = Path(__file__).parents[3] / "shared" / "data" / "xapi-video-statements.json.gz"

# What may differ between two orders of arrival.
ORDER_OF_ARRIVAL = ("rev", "version", "recorded_at")

BY_TYPE = {
    "view": 6_603,
    "pause": 6_480,
    "lesson_view": 3_938,
    "seek": 2_995,
    "lesson_started": 1_348,
    "complete": 636,
}
OF_THE_FIRST = {
    "view": 1_498,
    "pause": 1_444,
    "lesson_view": 921,
    "seek": 675,
    "lesson_started": 309,
    "complete": 153,
}

needs_statements = pytest.mark.skipif(
    not STATEMENTS.exists(), reason="the statements of real learners are not part of the project"
)


def progress_documents(uri: str) -> dict[Any, dict[str, Any]]:
    with MongoClient[dict[str, Any]](uri) as client:
        documents = list(client["education_platform_content"]["user_progress"].find({}))
    return {
        document["_id"]: {name: value for name, value in document.items() if name not in ORDER_OF_ARRIVAL}
        for document in documents
    }


@pytest.mark.slow
@needs_statements
def test_some_real_statements_are_stored_once_and_fold_to_the_same_documents_in_any_order(
    tmp_path: Path,
) -> None:
    with gzip.open(STATEMENTS) as lines:
        some = packed(tmp_path / "some.json.gz", islice(lines, 5_000))
    summary = stored_once_and_the_same_in_any_order(tmp_path, some, 5_000)
    assert (summary["by_type"], summary["completed_lessons"]) == (OF_THE_FIRST, 150)


@pytest.mark.long
@needs_statements
def test_all_real_statements_are_stored_once_and_fold_to_the_same_documents_in_any_order(
    tmp_path: Path,
) -> None:
    summary = stored_once_and_the_same_in_any_order(tmp_path, STATEMENTS, 22_000)
    assert (summary["by_type"], summary["completed_lessons"]) == (BY_TYPE, 568)


def stored_once_and_the_same_in_any_order(folder: Path, statements: Path, number: int) -> dict[str, Any]:
    """Publish these, publish them again, and in the order of time; what the first run said of them."""
    arguments = ("--input", str(statements), "--format", "xapi")
    first = folder / "first.json"
    with kept_demo(folder, *arguments, "--json", str(first)) as (_, printed):
        summary: dict[str, Any] = json.loads(first.read_text())
        documents = progress_documents(printed["MongoDB"])
        servers = {
            "SEVENP_MONGODB_URI": printed["MongoDB"],
            "SEVENP_KAFKA_BOOTSTRAP_SERVERS": printed["Kafka"],
        }
        code, output, repeated = demo(folder, *arguments, **servers)
        assert code == 0, output
        assert progress_documents(printed["MongoDB"]) == documents
    assert (summary["stored"], summary["time_series"], summary["duplicates"]) == (number, number, 0)
    assert summary["verified"] is True
    assert (repeated["stored"], repeated["time_series"], repeated["duplicates"]) == (number, number, number)
    ordered = in_time_order(folder, statements)
    with kept_demo(folder, "--input", str(ordered), "--format", "xapi") as (_, printed):
        assert progress_documents(printed["MongoDB"]) == documents
    return summary


def in_time_order(folder: Path, statements: Path) -> Path:
    with gzip.open(statements) as lines:
        ordered = sorted(lines, key=lambda line: str(json.loads(line)["timestamp"]))
    return packed(folder / "ordered.json.gz", ordered)


def packed(path: Path, lines: Iterable[bytes]) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.writelines(lines)
    return path


@pytest.mark.slow
def test_forty_bad_records_among_ten_thousand_good_ones_are_quarantined_byte_for_byte(tmp_path: Path) -> None:
    good = [encode(event(number % 500)) for number in range(10_000)]
    bad = bad_records()
    lines = list(good)
    for place, (_, value) in enumerate(bad):
        lines.insert(place * 250 + 3, value)
    path, report = tmp_path / "events.jsonl", tmp_path / "report.json"
    path.write_bytes(b"\n".join(lines) + b"\n")
    with kept_demo(tmp_path, "--input", str(path), "--json", str(report)) as (_, printed):
        summary = json.loads(report.read_text())
        with MongoClient[dict[str, Any]](printed["MongoDB"]) as client:
            dead_letters = list(client["education_platform_analytics"]["dead_letters"].find({}))
    assert (summary["published"], summary["stored"], summary["time_series"]) == (10_040, 10_000, 10_000)
    assert summary["dead_letter_reasons"] == Counter(reason for reason, _ in bad)
    assert Counter((dead_letter["reason"], dead_letter["value"]) for dead_letter in dead_letters) == Counter(
        bad
    )
    assert summary["verified"] is True
