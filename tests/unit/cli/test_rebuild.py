"""What the commands of rebuild refuse before they open anything, in words that say what to write instead."""

import pytest
from typer.testing import CliRunner

from projections.catalogue import EVERY
from worker.cli.commands import app
from worker.cli.starting import run_app

STREAM = f"course_{'0' * 24}_user_{'1' * 24}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["progress", "--fold", "ours:FOLD"], "needs --into NAME"),
        (["progress", "--into", "trial", "--dry-run"], "is not needed with --into"),
        (["progress", "--into", "Ä trial"], "must be 1 to 32 small letters, digits and underscores"),
        (["progress", "--stream", "course_1"], "no stream has the name 'course_1'"),
        (["progress", "--learner", "anna"], "'anna' is no id: it has 24 hexadecimal digits"),
        (["progress", "--type", "quiz"], "no event has the type 'quiz'; known are"),
        (["progress", "--since", "1h", "--until", "2h"], "the time selected ends before it begins"),
        (["progress", "--parallel", "0"], "must be 1 or more"),
        (["counts", "--parallel", "4"], "transactions meet in the same courses"),
        (["notifications", "--parallel", "4"], "only `rebuild progress` works on several parts at a time"),
        (["time-series", "--parallel", "2"], "by one repairer at a time"),
        (["counts", "--since", "yesterday"], "'yesterday' is no time: write 90m"),
        (["counts", "--stream", STREAM, "--course", "1"], "'1' is no id"),
    ],
)
def test_a_wrong_argument_of_rebuild_is_told(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["sevenp-worker", "rebuild", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_app(app)
    assert ended.value.code == 2
    assert words in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "command",
    [["rebuild", "progress"], ["rebuild", "courses"], ["rebuild", "counts"], ["promote"], ["rollback"]],
)
def test_every_command_of_rebuild_has_help_with_examples(command: list[str]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"])
    assert shown.exit_code == 0
    assert "Examples:" in shown.output
    assert "Exit codes:" in shown.output


def test_every_stream_projection_can_be_rebuilt_by_its_name() -> None:
    shown = CliRunner().invoke(app, ["rebuild", "--help"], env={"COLUMNS": "200"})
    assert {each.name for each in EVERY.streams} <= set(shown.output.split())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["rebuild", "progress"], "Only streams with an event of this type, with all of their events"),
        (["rebuild", "time-series"], "Only streams with an event of this type, with all of their events"),
        (["check-upcasters"], "Only streams with an event recorded since then"),
        (["publish"], "Only events of this type"),
    ],
)
def test_the_help_says_whether_whole_streams_or_single_events_are_selected(
    command: list[str], words: str
) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"})
    assert words in " ".join(shown.output.split())
    assert "--parallel" not in shown.output or command == ["rebuild", "progress"]
