"""One JSON object per line, nothing that breaks out of it, nothing of a payload."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from worker.errors import Misconfigured
from worker.telemetry.logs import configure_logging


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What the process logs at level debug; the logging of the test run is put back afterwards."""
    root = logging.getLogger()
    handlers, level, configuration = root.handlers[:], root.level, structlog.get_config()
    stream = io.StringIO()
    configure_logging("debug", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.configure(**configuration)


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def _fail(error: Exception) -> None:
    raise error


def test_a_log_line_is_one_json_object_with_time_level_and_logger(stream: io.StringIO) -> None:
    structlog.get_logger("worker.ingest").info("partition_assigned", partition=3)
    (line,) = _lines(stream)
    assert line["event"] == "partition_assigned"
    assert (line["level"], line["logger"], line["partition"]) == ("info", "worker.ingest", 3)
    assert line["time"].endswith("Z")


def test_time_and_level_come_first_whatever_else_a_line_has(stream: io.StringIO) -> None:
    structlog.get_logger("worker.ingest").bind(about=1).warning("batch_done", zone="a", age_s=2)
    logging.getLogger("aiokafka").warning("group %s failed", "a")
    try:
        _fail(Misconfigured("no"))
    except Misconfigured:
        structlog.get_logger("worker").exception("role_died")
    ours, theirs, failed = (list(line) for line in _lines(stream))
    assert ours == ["time", "level", "event", "logger", "about", "zone", "age_s"]
    assert theirs == ["time", "level", "event", "logger", "message"]
    assert failed == ["time", "level", "event", "logger", "exception"]


def test_a_field_without_a_value_is_left_out(stream: io.StringIO) -> None:
    structlog.get_logger("worker").info("skipped", trace_id=None, number=0, text="")
    (line,) = _lines(stream)
    assert (line.get("trace_id", "absent"), line["number"], line["text"]) == ("absent", 0, "")


def test_libraries_log_in_the_same_form(stream: io.StringIO) -> None:
    logging.getLogger("aiokafka.consumer").warning("group %s failed", "a")
    (line,) = _lines(stream)
    assert (line["event"], line["level"], line["message"]) == ("library_says", "warning", "group a failed")
    assert line["logger"] == "aiokafka.consumer"


def test_what_kafkas_client_tries_again_is_no_error_and_what_is_usual_no_warning(stream: io.StringIO) -> None:
    client = logging.getLogger("aiokafka.consumer.group_coordinator")
    client.error("Unable connect to node with id %s: %s", 0, "refused")
    client.warning("Heartbeat failed for group %s because it is rebalancing", "g")
    logging.getLogger("asyncio").error("Task was destroyed but it is pending!")
    try:
        _fail(ValueError("a defect"))
    except ValueError:
        client.exception("Unexpected error in coordinator routine")
    assert [line["level"] for line in _lines(stream)] == ["warning", "info", "error", "error"]
    assert {line["event"] for line in _lines(stream)} == {"library_says"}
    configure_logging("error", stream)
    client.error("Unable connect to node with id %s: %s", 1, "refused")
    assert len(_lines(stream)) == 4


@pytest.mark.parametrize("hostile", ["\n{}", "\r", "\x1b[31m", "\x00", "\x9b", "\u2028", "\u202e"])
def test_control_characters_cannot_leave_their_line(stream: io.StringIO, hostile: str) -> None:
    structlog.get_logger("worker").info("refused", reason=f"before{hostile}after")
    written = stream.getvalue()
    assert written.count("\n") == 1
    assert written.rstrip("\n").isascii()
    assert written.rstrip("\n").isprintable()
    assert _lines(stream)[0]["reason"] == f"before{hostile}after"


@pytest.mark.parametrize("library", ["pymongo.command", "aiokafka.conn", "motor"])
def test_libraries_do_not_log_payloads_at_debug(stream: io.StringIO, library: str) -> None:
    logging.getLogger(library).debug("insert %s", {"_id": "secret"})
    assert stream.getvalue() == ""


def test_bytes_are_shown_by_their_size(stream: io.StringIO) -> None:
    structlog.get_logger("worker").info("refused", value=b"secret")
    assert _lines(stream)[0]["value"] == "<6 bytes>"


def test_an_exception_shows_frames_and_classes_but_no_message_that_may_quote_data(
    stream: io.StringIO,
) -> None:
    try:
        int("a learner's secret")
    except ValueError:
        structlog.get_logger("worker").exception("fold failed")
    logged = _lines(stream)[0]["exception"]
    assert "builtins.ValueError" in logged
    assert __file__ in logged
    assert "withheld" in logged
    assert ": invalid literal" not in logged


def test_our_own_errors_are_shown_with_message_and_cause(stream: io.StringIO) -> None:
    error = Misconfigured("set SEVENP_MONGODB_URI")
    error.__cause__ = ConnectionRefusedError("refused by port 27017")
    try:
        _fail(error)
    except Misconfigured:
        structlog.get_logger("worker").exception("start failed")
    logged = _lines(stream)[0]["exception"]
    assert "set SEVENP_MONGODB_URI" in logged
    assert logged.index("refused by port 27017") < logged.index("set SEVENP_MONGODB_URI")


def test_every_error_of_a_group_is_shown(stream: io.StringIO) -> None:
    try:
        _fail(ExceptionGroup("roles", [Misconfigured("one"), Misconfigured("two")]))
    except ExceptionGroup:
        structlog.get_logger("worker").exception("stopped")
    logged = _lines(stream)[0]["exception"]
    assert "one" in logged
    assert "two" in logged


def test_warnings_of_python_become_log_lines(stream: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure_logging("info", stream)
        warnings.warn("old call", DeprecationWarning, stacklevel=1)
    assert "old call" in _lines(stream)[0]["message"]


def test_what_a_library_says_again_and_again_is_said_once(stream: io.StringIO) -> None:
    for _ in range(100):
        logging.getLogger("aiokafka").error("Unable to connect to node %s", 0)
        structlog.get_logger("worker").info("tried")
    lines = _lines(stream)
    assert [line.get("message") for line in lines].count("Unable to connect to node 0") == 1
    assert [line["event"] for line in lines].count("tried") == 100


def test_the_level_is_kept(stream: io.StringIO) -> None:
    configure_logging("warning", stream)
    structlog.get_logger("worker").info("batch done")
    logging.getLogger("aiokafka").info("joined")
    assert stream.getvalue() == ""
