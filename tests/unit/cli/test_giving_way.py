"""A process that runs jobs lowers its priority, and that of its session where this is its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_SHOWN = """
import json, os
from pathlib import Path
from worker.cli.giving_way import give_way
before = os.nice(0)
give_way(7)
group = Path("/proc/self/autogroup")
print(json.dumps({"added": os.nice(0) - before, "session": group.read_text() if group.exists() else None}))
"""


def shown(*, own_session: bool) -> dict[str, object]:
    ended = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", _SHOWN],
        start_new_session=own_session,
        capture_output=True,
        check=True,
        text=True,
    )
    found: dict[str, object] = json.loads(ended.stdout)
    return found


@pytest.mark.skipif(os.nice(0) > 12, reason="nothing lower than 19 is there")
@pytest.mark.parametrize("own_session", [True, False])
def test_a_process_lowers_its_own_priority(*, own_session: bool) -> None:
    assert shown(own_session=own_session)["added"] == 7


@pytest.mark.skipif(
    not Path("/proc/self/autogroup").exists(), reason="this system knows no groups of sessions"
)
def test_the_session_is_lowered_by_its_leader_alone() -> None:
    before = Path("/proc/self/autogroup").read_text()

    assert str(shown(own_session=True)["session"]).endswith("nice 7\n")
    assert shown(own_session=False)["session"] == before
