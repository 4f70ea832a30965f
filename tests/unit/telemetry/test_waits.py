"""An outage of hours is a few lines, and the last one says how long it was."""

import structlog
from aiokafka.errors import KafkaConnectionError
from pymongo.errors import AutoReconnect
from structlog.testing import capture_logs

from tests.support.clocks import ManualClock
from worker.errors import Retryable
from worker.telemetry.waits import Wait, Waits, server_of

log = structlog.get_logger(__name__)
AWAY = Retryable("no primary")


def caused(by: BaseException) -> Retryable:
    error = Retryable("no answer")
    error.__cause__ = by
    return error


def test_a_wait_is_told_when_it_begins_once_a_minute_and_when_it_is_over() -> None:
    clock = ManualClock()
    wait = Wait(log, clock, "ingest_waits_for_mongodb", role="ingest")
    with capture_logs() as lines:
        for _ in range(5_000):  # nearly three hours
            wait.failed(AWAY)
            clock.advance(2)
        wait.over()
        wait.over()
    assert 165 <= len(lines) <= 170
    begun, *reminders, over = lines
    assert begun == {
        "event": "ingest_waits_for_mongodb",
        "log_level": "warning",
        "role": "ingest",
        "reason": "no primary",
        "waited_s": 0.0,
        "failures": 1,
    }
    assert {each["log_level"] for each in reminders} == {"warning"}
    assert reminders[0]["waited_s"] == 60.0
    assert over == {
        "event": "ingest_waits_for_mongodb_over",
        "log_level": "info",
        "role": "ingest",
        "waited_s": 10_000.0,
        "failures": 5_000,
    }


def test_who_never_waited_is_told_of_nothing() -> None:
    with capture_logs() as lines:
        Wait(log, ManualClock(), "retry_waits_for_mongodb").over()
    assert lines == []


def test_a_server_that_comes_and_goes_does_not_fill_the_log() -> None:
    clock = ManualClock()
    wait = Wait(log, clock, "retry_waits_for_mongodb")
    with capture_logs() as lines:
        for _ in range(600):  # a minute
            wait.failed(AWAY)
            clock.advance(0.05)
            wait.over()
            clock.advance(0.05)
    assert 2 <= len(lines) <= 14
    assert [each["event"] for each in lines[:2]] == [
        "retry_waits_for_mongodb",
        "retry_waits_for_mongodb_over",
    ]


def test_a_wait_that_begins_again_at_once_is_told_of_if_it_lasts() -> None:
    clock = ManualClock()
    wait = Wait(log, clock, "retry_waits_for_mongodb")
    with capture_logs() as lines:
        wait.failed(AWAY)
        wait.over()
        for _ in range(11):
            clock.advance(1)
            wait.failed(AWAY)
    assert len(lines) == 3
    assert (lines[-1]["log_level"], lines[-1]["waited_s"]) == ("warning", 9.0)


def test_which_server_gave_no_answer_is_seen_by_what_its_driver_raised() -> None:
    assert server_of(caused(AutoReconnect("gone"))) == "mongodb"
    assert server_of(caused(caused(AutoReconnect("gone")))) == "mongodb"
    assert server_of(caused(KafkaConnectionError())) == "kafka"
    assert server_of(caused(TimeoutError())) == "kafka"
    assert server_of(Retryable("the assignment changed")) is None


def test_a_role_that_needs_both_servers_says_which_one_it_waits_for() -> None:
    clock = ManualClock()
    waits = Waits(log, clock, "ingest")
    with capture_logs() as lines:
        waits.failed(caused(AutoReconnect("gone")))
        waits.failed(caused(KafkaConnectionError()))
        waits.failed(Retryable("the assignment changed"))
        waits.over()
    names = ["ingest_waits_for_mongodb", "ingest_waits_for_kafka", "ingest_waits"]
    assert [each["event"] for each in lines] == [*names, *(f"{name}_over" for name in names)]
