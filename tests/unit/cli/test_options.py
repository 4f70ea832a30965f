"""What people write in filters, and what they see of hostile content."""

import json
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import typer
from bson import ObjectId
from typer.testing import CliRunner

from worker.app.exits import ExitCode
from worker.cli.commands import app
from worker.cli.listing import plain, with_bytes, with_everything
from worker.cli.options import parse_duration, parse_end, parse_time
from worker.cli.output import visible
from worker.cli.starting import run_app
from worker.cli.tables import JsonList, print_json, print_table
from worker.retry.dead_letters import Kept

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        (" 12h ", NOW - timedelta(hours=12)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-02-28", datetime(2026, 2, 28, tzinfo=UTC)),
        ("2026-02-28T10:00:00+02:00", datetime(2026, 2, 28, 8, tzinfo=UTC)),
    ],
)
def test_a_time_is_a_time_ago_or_a_date(text: str, expected: datetime) -> None:
    assert parse_time(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "-5m", "5", "5y", "1e3h", "9999999d", "999999w"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="90m"):
        parse_time(text, NOW)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00"])
def test_a_time_that_is_none_in_utc_is_refused_as_well(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="90m"):
        parse_time(text, NOW)


def test_an_end_is_as_far_away_as_can_be_read() -> None:
    assert parse_end("9999-12-30T00:00", NOW, "--until") == datetime(9999, 12, 30, tzinfo=UTC)
    assert parse_duration("90m", NOW, "--for") == 5_400
    for text in (
        "9999-12-31T00:00",
        "9999-12-30T00:00:01",
        "9999-12-30T00:00-01:00",
        "9999-12-31T23:59-14:00",
    ):
        with pytest.raises(typer.BadParameter, match="too far away: 9999-12-30 is the last end"):
            parse_end(text, NOW, "--until")
    with pytest.raises(typer.BadParameter, match="leave --for out to have no end"):
        parse_duration("999999w", NOW, "--for")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--limit", "x"], "Invalid value for '--limit': must be a whole number"),
        (["--limit", "0"], "Invalid value for '--limit': must be 1 or more"),
        (["--status", "x"], "Invalid value for '--status': 'x' is not one of 'pending', 'processing',"),
    ],
)
def test_a_wrong_argument_is_told_in_the_words_of_a_wrong_setting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.setattr("sys.argv", ["sevenp-worker", "queue", "list", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_app(app)
    assert ended.value.code == ExitCode.USAGE
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("group", ["queue", "dead-letters"])
def test_discarding_everything_needs_to_be_said(group: str) -> None:
    result = CliRunner().invoke(app, [group, "discard"])
    assert result.exit_code == ExitCode.USAGE
    assert "--all" in result.stderr


@pytest.mark.parametrize("command", ["list", "show", "retry", "discard"])
def test_every_queue_command_has_help(command: str) -> None:
    result = CliRunner().invoke(app, ["queue", command, "--help"])
    assert (result.exit_code, "--json" in result.output) == (ExitCode.OK, True)


@pytest.mark.parametrize("command", ["list", "show", "redrive", "discard"])
def test_every_dead_letter_command_has_help(command: str) -> None:
    result = CliRunner().invoke(app, ["dead-letters", command, "--help"])
    assert (result.exit_code, "--json" in result.output) == (ExitCode.OK, True)


def test_what_a_terminal_would_obey_is_shown_and_not_sent() -> None:
    assert visible("a\x1b[2Jb\x07\u202e\nnext") == "a\\x1b[2Jb\\x07\\u202e\nnext"


def test_every_stored_value_can_be_json() -> None:
    document = {
        "at": NOW,
        "id": ObjectId("5f1d7f3e9d1c4b0001a0c001"),
        "uuid": UUID(int=1),
        "value": b"\xff",
        "list": [None, 1.5, True, b""],
    }
    assert json.loads(json.dumps(plain(document))) == {
        "at": "2026-03-01T12:00:00+00:00",
        "id": "5f1d7f3e9d1c4b0001a0c001",
        "uuid": "00000000-0000-0000-0000-000000000001",
        "value": "/w==",
        "list": [None, 1.5, True, ""],
    }


def test_people_see_the_beginning_of_a_payload_and_scripts_all_of_it() -> None:
    value = b"\xff" + b"x" * 5_000
    assert with_everything({}, Kept(b"k", [(b"\xff", None)], value)) == {
        "key": b"k",
        "headers": [{"key": b"\xff", "value": None}],
        "value": value,
    }
    shown = with_bytes({"size_bytes": 5_001}, value[:2_000])["value"]
    assert shown.startswith("\\xffxxx")
    assert shown.endswith("... and 3,001 bytes more")


@pytest.mark.parametrize("entries", [[], [{"a": "x\ny"}], [{"a": [1, {"b": "ü["}]}, 2, []]])
def test_a_list_printed_entry_by_entry_is_the_list_printed_at_once(
    capsys: pytest.CaptureFixture[str], entries: list[object]
) -> None:
    print_json(entries)
    at_once = capsys.readouterr().out
    with JsonList() as listed:
        for entry in entries:
            listed.add(entry)
    assert capsys.readouterr().out == at_once


@pytest.mark.parametrize(("terminal", "width"), [(False, 80), (False, 60), (True, 80), (True, 60)])
def test_ids_and_fingerprints_are_shown_whole_and_lists_fit_the_window(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    name = f"progress:course_{'c' * 24}_user_{'u' * 24}"
    print_table([("1,000", "f" * 16, "a sentence " * 9, name)], ("number", "fingerprint", "message", "id"))
    shown = capsys.readouterr().out
    assert "f" * 16 in shown
    assert "…" not in shown
    assert (name in shown) is (not terminal or width == 80)
    assert name in shown.replace("\n", "")
    if terminal:
        assert max(map(len, shown.splitlines())) <= width


@pytest.mark.parametrize("width", [80, 60])
def test_a_table_that_fits_stays_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    print_table([("1", "a sentence " * 20)], ("number", "message"))
    shown = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)
    assert "┃" in shown
    assert max(map(len, shown.splitlines())) <= width


def test_what_somebody_called_something_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([("worker_control.x\nworker_control.y", "one\ntwo")], ("key", "message"))
    shown = capsys.readouterr().out
    assert "worker_control.x\\nworker_control.y" in shown
    assert "one\\ntwo" not in shown


def test_of_very_many_rows_the_first_are_shown_and_the_others_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table([(str(number),) for number in range(10_000)], ("number",), most=20)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "... and 9,980 more: --json has them"
    assert len(lines) == 20 + 5
