"""The drill runs the rules that operators install: only their times are others."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.drill.scaling import scaled, shorter


def _alerts(path: Path) -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


@pytest.mark.parametrize(
    ("before", "after"),
    [("10m", "10s"), ("1h", "60s"), ("30s", "1s"), ("10m:30s", "10s:1s"), ("1d", "1440s")],
)
def test_a_duration_is_made_shorter_and_never_less_than_a_second(before: str, after: str) -> None:
    assert shorter(before, 1 / 60) == after


def test_windows_and_waits_are_shorter_and_thresholds_only_where_they_are_named(tmp_path: Path) -> None:
    alerts = _alerts(scaled(tmp_path, 1 / 60, times={"RetryBacklogOld"}))
    assert alerts["KafkaLagHigh"]["for"] == "10s"
    assert alerts["KafkaLagHigh"]["expr"].endswith("> 1 * 60")
    assert "[10s]" in alerts["DeadLetterBurst"]["expr"]
    assert "max(sevenp_worker_retry_oldest_age_seconds) > 15\n" in alerts["RetryBacklogOld"]["expr"]
    assert "for" not in alerts["EventsDropped"]


def test_an_alert_can_be_left_out_and_no_other_is_lost(tmp_path: Path) -> None:
    before = _alerts(scaled(tmp_path, 1 / 60))
    after = _alerts(scaled(tmp_path, 1 / 60, without={"WorkerDown"}))
    assert before.keys() - after.keys() == {"WorkerDown"}
    assert len(after) > 40
