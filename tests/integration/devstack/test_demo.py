"""The demo as a newcomer runs it: its own process, real servers, the worker as a child."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from worker.contract.codec import encode
from worker.devstack.process import StartFailed, tail
from worker.devstack.simulator import simulate
from worker.devstack.worker_process import start_worker
from worker.settings import RoleName

ROOT = Path(__file__).parents[3]
LIMIT_S = 180.0
COUNTED = "counts" in list(RoleName)  # the role that makes statistics and notifications
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
def kept_demo(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A demo that is left running, and the lines it prints about itself."""
    process = subprocess.Popen(  # noqa: S603 - our own program
        command("--keep", *arguments),
        env=environment(TMPDIR=str(folder)),
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


def test_a_simulated_run_agrees_everywhere_and_leaves_nothing(tmp_path: Path) -> None:
    code, output, summary = demo(tmp_path, "--events", "2000")
    assert code == 0, output
    assert list(summary) == KEYS
    assert summary["verified"] is True
    assert (summary["published"], summary["stored"], summary["time_series"]) == (2_000, 1_958, 1_958)
    assert (summary["duplicates"], summary["conflicts"]) == (40, 2)
    assert summary["dead_letter_reasons"] == {"conflict": 2}
    assert sum(summary["by_type"].values()) == summary["stored"]
    assert summary["notifications"] == (milestones(seed=7, records=2_000) if COUNTED else 0)
    assert ("statistics, outbox and billing" in output) == COUNTED
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_a_file_is_published_line_by_line_and_its_bad_lines_become_dead_letters(tmp_path: Path) -> None:
    good = [record.value or b"" for record in simulate(seed=5, records=300).records]
    bad = [b"", b"{", b"\xff", encode({"event_type": "view"}), b'{"a": NaN}']
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join([*good[:100], *bad, *good[100:]]) + b"\n")
    code, output, summary = demo(tmp_path, "--input", str(path))
    assert code == 0, output
    assert (summary["published"], summary["stored"], summary["duplicates"]) == (305, 294, 6)
    assert summary["dead_lettered"] == sum(summary["dead_letter_reasons"].values()) == 5


def test_a_file_with_a_line_that_cannot_be_translated_does_not_agree(tmp_path: Path) -> None:
    path = tmp_path / "statements.jsonl"
    path.write_bytes(b'{"no": "statement"}\n')
    code, output, summary = demo(tmp_path, "--input", str(path), "--format", "xapi")
    assert code == 1
    assert summary["verified"] is False
    assert "not published: line 1: " in output


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


async def test_a_worker_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    worker = start_worker(tmp_path, {"SEVENP_TOPIC": "no topic"})
    with pytest.raises(StartFailed, match="SEVENP_TOPIC"):
        await worker.wait_until_ready("no topic", 1)
    assert "SEVENP_TOPIC" in tail(tmp_path / "worker.log")
