"""How long a refusal of the server stands, and which of them are told."""

from structlog.testing import capture_logs

from tests.support.clocks import ManualClock
from worker.app.server_state import ServerState


def test_a_refusal_about_the_server_stands_while_it_is_repeated_and_is_over_soon_after() -> None:
    clock = ManualClock()
    state = ServerState(clock)
    assert state.refusal is None
    for _ in range(10):
        state.heard(371)
        clock.advance(5)
        assert state.refusal is not None
        assert "UserWritesBlocked (371)" in state.refusal
    clock.advance(11)
    assert state.refusal is None


def test_conflicts_elections_and_refused_documents_are_no_state_of_the_server() -> None:
    state = ServerState(ManualClock())
    for code in (112, 189, 121, 13, 11000):
        state.heard(code)
    assert state.refusal is None


def test_an_unknown_code_is_told_once_a_minute_with_its_number() -> None:
    clock = ManualClock()
    state = ServerState(clock)
    with capture_logs() as logs:
        for _ in range(13):
            state.heard(999_999)
            clock.advance(5)
    assert [entry["code"] for entry in logs] == [999_999, 999_999]
    assert logs[0]["log_level"] == "error"
