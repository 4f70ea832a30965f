"""Log lines for people: chosen by setting or by the terminal, in columns, and nothing breaks out of them."""

import io
import logging
import re
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import Misconfigured
from worker.settings import load_settings, log_format
from worker.settings.process import LogFormat
from worker.settings.standards import colours_allowed
from worker.telemetry.console import console_renderer, visible
from worker.telemetry.logs import configure_logging

ENTRY = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z (debug   |info    |warning |error   |critical) \S", re.ASCII
)
ESCAPE = "\x1b"


class Terminal(io.StringIO):
    """A stream that says that people look at it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, configuration = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.configure(**configuration)


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def logged(stream: io.StringIO, form: LogFormat = "auto", **fields: object) -> str:
    configure_logging("debug", stream, form=form)
    structlog.get_logger("worker.ingest").warning("batch_given_up", **fields)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("stream", "form", "is_json"),
    [
        (io.StringIO, "auto", True),
        (Terminal, "auto", False),
        (io.StringIO, "console", False),
        (Terminal, "json", True),
    ],
)
def test_lines_are_columns_on_a_terminal_and_json_elsewhere_unless_somebody_chose(
    stream: type[io.StringIO], form: LogFormat, is_json: bool
) -> None:
    assert logged(stream(), form).startswith("{") is is_json


def test_a_line_has_its_columns_where_the_eye_looks_for_them() -> None:
    configure_logging("debug", stream := io.StringIO(), form="console")
    log = structlog.get_logger("worker.ingest")
    log.info("started", roles=["ingest"])
    log.warning("ingest_waits_for_mongodb", reason="no primary answers", waited_s=0.5)
    started, waits = stream.getvalue().splitlines()
    assert ENTRY.match(started)
    assert ENTRY.match(waits)
    assert started.index("roles=") == waits.index("reason=")
    assert waits.endswith('reason="no primary answers" waited_s=0.5 (worker.ingest)')
    assert started.endswith('roles=["ingest"] (worker.ingest)')


def test_colours_are_for_terminals_only_and_for_nobody_who_wants_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ESCAPE in logged(Terminal())
    assert ESCAPE not in logged(io.StringIO(), "console")
    monkeypatch.setenv("NO_COLOR", "1")
    assert ESCAPE not in logged(Terminal())


def test_the_standard_variables_decide_about_colours() -> None:
    assert colours_allowed({})
    assert colours_allowed({"NO_COLOR": "", "TERM": "xterm"})
    assert not colours_allowed({"NO_COLOR": "0"})
    assert not colours_allowed({"TERM": "dumb"})


@pytest.mark.parametrize(
    "hostile",
    [
        "\n2026-11-29 03:00:12.345Z error    records_dropped",
        "\r\n",
        "\x1b[2J\x1b[31m",
        "\x9b31m",
        "\u2028",
        "\u202e",
        "\x00",
        "\x7f",
        "\ud800",
        'x" level=error reason="y',
    ],
)
def test_what_is_hostile_stays_within_its_line_and_its_field(hostile: str) -> None:
    line = logged(io.StringIO(), "console", reason=hostile, inside={"key": [hostile]}).removesuffix("\n")
    assert "\n" not in line
    assert line.isprintable()
    assert len(re.findall(r" level=", re.sub(r'"(?:[^"\\]|\\.)*"', "", line))) == 0
    for name in ("event", "logger"):
        rendered = console_renderer(colours=False, opaque=str)(None, "", {name: hostile, "level": "info"})
        assert isinstance(rendered, str)
        assert rendered.isprintable()


@given(text=st.text(), name=st.text())
def test_no_text_leaves_its_line(text: str, name: str) -> None:
    render = console_renderer(colours=False, opaque=str)
    line = render(None, "", {"time": text, "level": text, "event": text, "logger": text, f"x{name}": text})
    assert isinstance(line, str)
    assert line.isprintable()
    assert visible(text).isprintable()


def _fail(error: Exception) -> None:
    raise error


def test_frames_stand_below_their_line_behind_a_margin() -> None:
    configure_logging("debug", stream := io.StringIO(), form="console")
    try:
        _fail(Misconfigured("set it\n2026-11-29 03:00:12.345Z error    forged\x1b[31m"))
    except Misconfigured:
        structlog.get_logger("worker").exception(
            "role_died_of_a_defect", tasks=["task a:\n  waits", "task b"]
        )
    first, *below = stream.getvalue().splitlines()
    assert ENTRY.match(first)
    assert all(line.startswith("    | ") and line.isprintable() for line in below)
    assert below[:3] == ["    | task a:", "    |   waits", "    | task b"]
    assert any("raise error" in line for line in below)
    assert any(line.startswith("    | worker.errors.Misconfigured: set it") for line in below)


def test_bytes_are_shown_by_their_size() -> None:
    assert 'value="<6 bytes>"' in logged(io.StringIO(), "console", value=b"secret")


@pytest.mark.parametrize(
    ("given_", "form"),
    [("", "auto"), ("json", "json"), (" Console ", "console"), ("auto", "auto"), ("xml", "auto")],
)
def test_commands_know_the_form_before_they_have_read_their_settings(
    monkeypatch: pytest.MonkeyPatch, given_: str, form: LogFormat
) -> None:
    monkeypatch.setenv("SEVENP_LOG_FORMAT", given_)
    assert log_format() == form


def test_a_form_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEVENP_LOG_FORMAT", "xml")
    with pytest.raises(Misconfigured, match="SEVENP_LOG_FORMAT"):
        load_settings()
    monkeypatch.setenv("SEVENP_LOG_FORMAT", "JSON")
    assert load_settings().process.log_format == "json"
