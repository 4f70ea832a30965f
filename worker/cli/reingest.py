"""`sevenp-worker reingest`: which records to read again, as an operator says it."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from worker.cli import help as text
from worker.cli.foreground import asked, run_in_foreground
from worker.cli.options import DryRun, JsonFlag, parse_time
from worker.jobs.reingest import REINGEST, ReingestArguments

EPILOG = text.page(
    text.examples(
        "sevenp-worker reingest --missing --dry-run       what does a restored MongoDB lack?",
        "sevenp-worker reingest --missing                 bring it back",
        "sevenp-worker reingest --from-time 2026-11-20T00:00 --to-time 2026-11-21T00:00",
        "sevenp-worker reingest --from-offset 120000 --partition 3 --topic interaction-events",
    ),
    text.settings(
        *text.MONGODB,
        "topic",
        "content_topic",
        "account_topic",
        "billing_topic",
        "worker_topic",
        "kafka_group_id",
        "jobs_",
        "operator",
        *text.KAFKA,
    ),
    text.exit_codes(),
)
_Time = typer.Option(help="90m, 12h, 7d ago, or a date and time (UTC), by the records' time in Kafka.")


def reingest(
    from_time: Annotated[str | None, _Time] = None,
    from_offset: Annotated[int | None, typer.Option(min=0, help="In every partition read.")] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="What the group has read and a restored MongoDB does not hold.")
    ] = False,
    to_time: Annotated[str | None, _Time] = None,
    to_offset: Annotated[int | None, typer.Option(min=0, help="Up to, but not including it.")] = None,
    partition: Annotated[
        list[int] | None, typer.Option(min=0, help="Only this partition; may be given several times.")
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(help="Only this topic of those the worker reads; may be given several times."),
    ] = None,
    accept_loss: Annotated[
        bool,
        typer.Option("--accept-loss", help="Go on where Kafka has removed records; the gap is recorded."),
    ] = False,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Read the topics again, up to what the live group has committed, beside workers that go on.

    What is stored already changes nothing; what is missing is stored with its row, and nobody is notified of it.
    Killed or stopped, the same command goes on where it came to.
    """
    now = datetime.now(UTC)
    arguments = asked(
        ReingestArguments,
        from_time=None if from_time is None else parse_time(from_time, now, "--from-time"),
        from_offset=from_offset,
        missing=missing,
        to_time=None if to_time is None else parse_time(to_time, now, "--to-time"),
        to_offset=to_offset,
        partitions=tuple(sorted(set(partition or ()))),
        topics=tuple(sorted(set(topic or ()))),
        accept_loss=accept_loss,
    )
    run_in_foreground(REINGEST, arguments, dry_run=dry_run, as_json=as_json)
