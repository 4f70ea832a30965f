"""What `reingest` and `backfill` refuse before they open anything, in words that say what to write instead."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from worker.cli.commands import app
from worker.cli.starting import run_app


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reingest"], "say where to begin: --from-time, --from-offset or --missing, one of them"),
        (["reingest", "--missing", "--from-offset", "1"], "one of them"),
        (["reingest", "--missing", "--to-offset", "9"], "--missing knows its own end"),
        (["reingest", "--from-time", "yesterday"], "'yesterday' is no time: write 90m"),
        (["reingest", "--from-offset", "-1"], "--from-offset"),
        (["backfill"], "Missing argument 'FILE...'"),
        (["backfill", "nowhere.jsonl"], "nowhere.jsonl does not exist"),
        (["backfill", "."], ". is a folder"),
        (["backfill", __file__, "--rate", "-1"], "--rate"),
    ],
)
def test_a_wrong_argument_is_told(
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["sevenp-worker", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_app(app)
    assert ended.value.code == 2
    assert words in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("command", ["reingest", "backfill"])
def test_both_have_help_with_examples(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0
    assert "Examples:" in shown.output
    assert "Exit codes:" in shown.output
