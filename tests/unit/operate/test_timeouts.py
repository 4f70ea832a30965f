"""Times that are allowed and contradict each other: each is named by its setting, and the defaults are sound."""

from typing import Any

import pytest

from worker.operate.doctor.timeouts_contradict import TIMEOUTS_CONTRADICT, decide
from worker.settings import load_settings, variable


@pytest.mark.parametrize(
    ("given", "setting", "said"),
    [
        ({}, None, ""),
        ({"watch_lease_s": 3}, "watch_lease_s", "an election of MongoDB is waited for 5 s"),
        ({"jobs_lease_s": 2}, "jobs_lease_s", "an election of MongoDB is waited for 5 s"),
        ({"retry_lease_s": 10}, "retry_lease_s", "one answer of MongoDB may take 30 s"),
        ({"notify_lease_s": 8, "notify_send_timeout_s": 9}, "notify_lease_s", "a receiver has 9 s"),
        ({"drain_deadline_s": 12}, "drain_deadline_s", "a batch waits 20 s for one answer"),
        ({"start_timeout_s": 2}, "start_timeout_s", "one question to a server may take 8 s"),
        (
            {"kafka_group_instance_id": "pod-1", "session_timeout_ms": 2_000},
            "session_timeout_ms",
            "needs up to 5000 ms for a restart",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_timeouts_contradict(given: dict[str, Any], setting: str | None, said: str) -> None:
    found = list(decide(load_settings(**given)))
    assert [each.subject for each in found] == ([variable(setting)] if setting else [])
    for each in found:
        assert said in each.words
        assert each.fix is not None
    assert TIMEOUTS_CONTRADICT.name == "timeouts_contradict"
