"""The demo as a newcomer runs it: its own process, real servers, the worker as a child."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.conftest import RunningMongo
from tests.integration.cli.test_publish import topics
from worker.contract.codec import encode
from worker.contract.routes import USUAL_TOPICS
from worker.devstack.demo.documents_check import count_by_collection
from worker.devstack.servers.process import StartFailed, tail
from worker.devstack.servers.worker_process import start_worker
from worker.devstack.simulator.simulation import simulate

ROOT = Path(__file__).parents[3]
LIMIT_S = 180.0
KEYS = [
    "published",
    "stored",
    "duplicates",
    "conflicts",
    "dead_lettered",
    "dead_letter_reasons",
    "time_series",
    "by_type",
    "streams",
    "completed_lessons",
    "notifications",
    "seconds",
    "events_per_second",
    "verified",
    "platform",
]


def environment(**extra: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SEVENP_")}
    return {**inherited, "PYTHONPATH": str(ROOT), **extra}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "worker", "demo", *arguments]


def demo(folder: Path, *arguments: str, **extra: str) -> tuple[int, str, dict[str, Any]]:
    """Run the demo to its end: exit code, output, summary."""
    summary = folder / "summary.json"
    result = subprocess.run(  # noqa: S603 - our own program
        command("--json", str(summary), *arguments),
        env=environment(TMPDIR=str(folder), **extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return result.returncode, result.stdout, json.loads(summary.read_text()) if summary.exists() else {}


@contextmanager
def kept_demo(
    folder: Path, *arguments: str, **extra: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A demo that is left running, and the lines it prints about itself."""
    process = subprocess.Popen(  # noqa: S603 - our own program
        command("--keep", *arguments),
        env=environment(TMPDIR=str(folder), **extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        printed: dict[str, str] = {}
        for line in process.stdout:
            name, _, value = line.rstrip("\n").partition("  ")
            printed[name] = value.strip()
            if name == "verify":  # the last line before it waits
                break
        assert "verify" in printed, printed
        yield process, printed
    finally:
        process.terminate()
        process.communicate(timeout=LIMIT_S)


def milestones(seed: int, records: int) -> int:
    """A welcome for each learner in a course, and a completion for each who finished."""
    ledger = simulate(seed, records).ledger
    return len(ledger) + sum(entry.finished for entry in ledger)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_a_simulated_run_agrees_everywhere_and_leaves_nothing(tmp_path: Path) -> None:
    code, output, summary = demo(tmp_path, "--events", "2000")
    assert code == 0, output
    assert list(summary) == KEYS
    assert summary["verified"] is True
    assert (summary["published"], summary["stored"], summary["time_series"]) == (2_000, 1_958, 1_958)
    assert (summary["duplicates"], summary["conflicts"]) == (40, 2)
    assert summary["dead_letter_reasons"] == {"conflict": 2}
    assert sum(summary["by_type"].values()) == summary["stored"]
    assert summary["notifications"] == milestones(seed=7, records=2_000)
    assert "statistics, outbox and billing" in output
    assert_the_whole_platform_came_out_exact(output, summary["platform"])
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def assert_the_whole_platform_came_out_exact(output: str, told: Mapping[str, Any]) -> None:
    """What its ledger knows is there, each collection told, and one course's life shown."""
    platform = simulate(seed=7, records=2_000).platform
    outcomes = Counter(record.outcome for record in platform.records)
    assert (told["published"], told["stored"]) == (len(platform.records), outcomes["ok"])
    assert told["duplicates"] == outcomes["duplicate"]
    assert told["dead_lettered"] == told["published"] - outcomes["ok"] - outcomes["duplicate"]
    expected = count_by_collection(platform.documents)
    over = sum(each.may_be_gone for each in platform.documents)  # the server removes them when it comes to it
    assert told["documents"].keys() == expected.keys()
    for name, count in expected.items():
        assert count - (over if name == "promotions" else 0) <= told["documents"][name] <= count
        assert f"`{name}` has what the ledger says" in output
    assert "The life of one course" in output
    for text in ("1.1 again", "review", "published", "draft completed", "149.00 EUR", "documents: courses "):
        assert text in output


@pytest.mark.slow
def test_a_file_is_published_line_by_line_and_its_bad_lines_become_dead_letters(tmp_path: Path) -> None:
    good = [record.value or b"" for record in simulate(seed=5, records=300).records]
    bad = [b"", b"{", b"\xff", encode({"event_type": "view"}), b'{"a": NaN}']
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join([*good[:100], *bad, *good[100:]]) + b"\n")
    code, output, summary = demo(tmp_path, "--input", str(path))
    assert code == 0, output
    assert (summary["published"], summary["stored"], summary["duplicates"]) == (305, 294, 6)
    assert summary["dead_lettered"] == sum(summary["dead_letter_reasons"].values()) == 5
    assert summary["platform"] is None
    assert "The life of one course" not in output


@pytest.mark.slow
def test_a_file_with_a_line_that_cannot_be_translated_does_not_agree(tmp_path: Path) -> None:
    path = tmp_path / "statements.jsonl"
    path.write_bytes(b'{"no": "statement"}\n')
    code, output, summary = demo(tmp_path, "--input", str(path), "--format", "xapi")
    assert code == 1
    assert summary["verified"] is False
    assert "not published: line 1: " in output


@pytest.mark.slow
def test_a_kept_stack_takes_the_same_events_again_as_duplicates_and_ends_with_its_owner(
    tmp_path: Path,
) -> None:
    second_folder = tmp_path / "second"  # also the second demo's folder for temporary files
    second_folder.mkdir()
    with kept_demo(tmp_path, "--events", "500") as (process, printed):
        servers = {
            "SEVENP_MONGODB_URI": printed["MongoDB"],
            "SEVENP_KAFKA_BOOTSTRAP_SERVERS": printed["Kafka"],
        }
        code, output, summary = demo(second_folder, "--events", "500", **servers)
        assert code == 0, output
        worker = printed["metrics"].removesuffix("/metrics")
        assert f"using the worker at {worker}" in output
        assert (summary["stored"], summary["duplicates"], summary["published"]) == (490, 500, 500)
        ports = [
            int(port)
            for name in ("MongoDB", "Kafka", "metrics")
            for port in re.findall(r":(\d+)", printed[name])
        ]
        assert len(ports) == 3
        assert all(map(accepts, ports))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0
        assert not any(map(accepts, ports))


@pytest.mark.slow
def test_on_named_servers_the_demo_touches_nothing_but_its_own_names(
    tmp_path: Path, mongodb: RunningMongo, kafka: str
) -> None:
    """Also where the settings say which topic, database, group and channel are the real ones."""
    real = {
        "SEVENP_MONGODB_URI": mongodb.uri,
        "SEVENP_KAFKA_BOOTSTRAP_SERVERS": kafka,
        "SEVENP_DATABASE_PREFIX": "real",
        "SEVENP_TOPIC": "real-events",
        "SEVENP_KAFKA_GROUP_ID": "real-group",
        "SEVENP_NOTIFY_ROUTES": "welcome=kafka,completion=kafka",
        "SEVENP_NOTIFY_KAFKA_TOPIC": "real-notifications",
        "SEVENP_ALLOW_TEST_COMMANDS": "true",
    }
    with MongoClient[dict[str, Any]](mongodb.uri) as client:
        before = set(client.list_database_names())
        code, output, summary = demo(tmp_path, "--events", "500", **real)
        after = set(client.list_database_names())
        for name in after - before:
            client.drop_database(name)
    assert code == 0, output
    assert summary["verified"] is True
    own = {"sevenp_demo_content", "sevenp_demo_analytics", "sevenp_demo_config"}
    assert after - before <= own
    assert own <= after
    assert (
        "databases sevenp_demo_*, topic sevenp-demo-events (and 4 more), consumer group sevenp-demo" in output
    )
    assert "notifications to the worker's log" in output
    there = asyncio.run(topics(kafka))
    assert not {"real-events", "real-notifications", *tuple(USUAL_TOPICS)[1:]} & there
    assert {"sevenp-demo-events", "sevenp-demo-content-events", "sevenp-demo-worker-events"} <= there


@pytest.mark.slow
def test_a_file_without_any_event_is_said_to_be_one(tmp_path: Path) -> None:
    code, output, summary = demo(tmp_path, "--input", str(ROOT / "README.md"))
    assert (code, summary["verified"], summary["stored"]) == (1, False, 0)
    assert f"None of the {summary['published']} lines is an event (not_json" in output
    assert "Is it the right file" in output


@pytest.mark.slow
@pytest.mark.parametrize("simulated", [["--events", "5"], ["--seed", "5"]])
def test_a_file_and_a_simulation_at_once_are_refused(tmp_path: Path, simulated: list[str]) -> None:
    code, output, _ = demo(tmp_path, "--input", str(ROOT / "README.md"), *simulated)
    assert code == 2
    assert "leave one of them out" in output


@pytest.mark.slow
def test_named_servers_that_do_not_answer_are_all_told_before_anything_starts(tmp_path: Path) -> None:
    absent = {
        "SEVENP_MONGODB_URI": "mongodb://127.0.0.1:1/?replicaSet=rs0",
        "SEVENP_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    }
    code, output, _ = demo(tmp_path, **absent)
    assert code == 4
    assert "mongodb did not answer" in output
    assert "kafka did not answer" in output
    assert len(output.splitlines()) == 1


@pytest.mark.slow
def test_a_kept_worker_that_dies_ends_the_demo_at_once(tmp_path: Path) -> None:
    with kept_demo(tmp_path, "--events", "100") as (process, printed):
        port = re.findall(r":(\d+)/metrics", printed["metrics"])[0]
        os.kill(listener(int(port)), signal.SIGKILL)
        output, _ = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 7
        assert "worker ended with exit code -9" in output


@pytest.mark.slow
def test_ctrl_c_in_the_middle_stops_everything_without_a_trace(tmp_path: Path) -> None:
    process = subprocess.Popen(  # noqa: S603 - our own program
        command("--events", "2000"),
        env=environment(TMPDIR=str(tmp_path), PYTHONUNBUFFERED="1", PYTHONIOENCODING="ascii"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("worker at"):
            break
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert "sevenp-worker: interrupted: everything that was started here is stopped" in output.splitlines()
    assert "Traceback" not in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_letters_that_the_terminal_does_not_have_are_replaced(tmp_path: Path) -> None:
    code, output, _ = demo(tmp_path, "--events", "200", PYTHONIOENCODING="ascii")
    assert code == 0, output
    assert output.isascii()
    assert "####" in output
    assert "\\u" not in output


def listener(port: int) -> int:
    """The process that listens on a port of this machine, by /proc."""
    sockets = {
        fields[9]
        for fields in (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        if fields[3] == "0A" and int(fields[1].partition(":")[2], 16) == port
    }
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if str(link.readlink()) in {f"socket:[{inode}]" for inode in sockets}:
                return int(link.parts[2])
    raise AssertionError(f"nobody listens on {port}")


async def test_a_worker_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    worker = start_worker(tmp_path, {"SEVENP_TOPIC": "no topic"})
    with pytest.raises(StartFailed, match="SEVENP_TOPIC"):
        await worker.wait_until_ready("no topic", 1)
    assert "SEVENP_TOPIC" in tail(tmp_path / "worker.log")
