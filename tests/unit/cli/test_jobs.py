"""What is wrong with the arguments of `jobs run` is told before anything is opened."""

import pytest
from typer.testing import CliRunner

from worker.app.exits import ExitCode
from worker.cli.commands import app
from worker.jobs.catalogue import JOBS

JOB = "rebuild-progress"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rebuild-progres"], "there is no job rebuild-progres: did you mean rebuild-progress?"),
        (["dance"], "`sevenp-worker jobs list --catalogue` shows all"),
        ([JOB, "parallel"], "'parallel' is no argument: write KEY=VALUE"),
        ([JOB, "of={course"], "'of={course': what begins with { must be JSON"),
        ([JOB, "parallel=99"], "parallel must be 16 or less"),
        ([JOB, "parallel=many"], "parallel must be a whole number"),
        ([JOB, "colour=red"], "colour is no argument; there are of, projection, parallel"),
        ([JOB, "--interval", "2026-11-21"], "'2026-11-21' is no interval"),
        ([JOB, "--from", "2026-11-21"], "--from and --to go together"),
        ([JOB, "--interval", "2026-11-21/P1D", "--to", "2026-11-21"], "--interval is one"),
        ([JOB, "--from", "2026-11-21", "--to", "2026-11-22", "--every", "day"], "'day' is no duration"),
        ([JOB, "--from", "2026-11-22", "--to", "2026-11-21"], "ends before it has begun"),
    ],
)
def test_a_wrong_argument_is_named(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(app, ["jobs", "run", *arguments], terminal_width=200)
    assert result.exit_code == ExitCode.USAGE
    assert says in " ".join(result.output.replace("│", " ").split())


def test_the_catalogue_is_listed_without_a_database() -> None:
    result = CliRunner().invoke(app, ["jobs", "list", "--catalogue"])
    assert result.exit_code == ExitCode.OK
    for job in JOBS:
        assert job.name in result.output
        assert job.about in result.output
