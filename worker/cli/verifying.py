"""`sevenp-worker verify`: whether all stored documents agree, and with --fix what mends those that do not."""

from typing import Annotated

import typer

from worker.app.exits import ExitCode
from worker.app.opening import opened_in_use
from worker.cli import help as text
from worker.cli.ending import end_with
from worker.cli.foreground import run_in_foreground
from worker.cli.giving_way import give_way
from worker.cli.left import print_left
from worker.cli.options import DryRun, JsonFlag
from worker.cli.tables import print_json, print_verification
from worker.jobs.verify_fix import VERIFY_FIX, VerifyFix
from worker.settings import load_settings
from worker.verify.run import verify

EPILOG = text.page(
    text.examples(
        "sevenp-worker verify",
        "sevenp-worker verify --settled --json",
        "sevenp-worker verify --fix --dry-run        what would be mended, and what not",
        "sevenp-worker verify --fix",
    ),
    text.settings(*text.MONGODB, *text.KAFKA, "topic", "jobs_", "operator"),
    text.exit_codes(),
)


def verify_command(
    settled: Annotated[
        bool, typer.Option(help="Nothing is being written: whatever is behind or missing is wrong.")
    ] = False,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what was found, and say of the rest why it stays.")
    ] = False,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Check that events, time series, progress, statistics, outbox and billing agree.

    Without --fix it only reads. Right on a live system. Ends with 0 when everything agrees, with --fix afterwards,
    and with 1 when something was found that is still there.
    """
    if fix:
        arguments = VerifyFix(settled=settled)
        run_in_foreground(VERIFY_FIX, arguments, dry_run=dry_run, as_json=as_json, show=print_left)
    if dry_run:
        raise typer.BadParameter("needs --fix: without it nothing is changed", param_hint="--dry-run")

    async def work() -> ExitCode:
        settings = load_settings()
        give_way(settings.jobs.nice)
        async with opened_in_use(settings) as database:
            verification = await verify(database, quiescent=settled)
        if as_json:
            print_json(verification.to_json())
        else:
            print_verification(verification)
        return ExitCode.OK if verification.ok else ExitCode.DIFFERENCE

    end_with(work)
