"""`sevenp-worker publish`: records to a topic, from a file or from the event store."""

from pathlib import Path
from typing import Annotated

import typer

from worker.cli import help as text
from worker.cli.ending import end_with
from worker.cli.foreground import asked, run_in_foreground
from worker.cli.options import DryRun, Format, JsonFlag, input_file
from worker.cli.publishing import Publishing
from worker.cli.selecting import selecting_events
from worker.contract.family import Inlet
from worker.jobs.publish_stored import PUBLISH_STORED, PublishStored
from worker.storage.stream_selection import StreamSelection

EPILOG = text.page(
    text.examples(
        "sevenp-worker publish events.jsonl",
        "sevenp-worker publish events.jsonl --check      refuse it if a line is no valid event",
        "sevenp-worker publish statements.json.gz --format xapi",
        "zstd -dc events.zst | sevenp-worker publish -",
        "sevenp-worker publish --from-store --topic copy --dry-run",
        "sevenp-worker publish --from-store --topic copy --course COURSE --rate 500",
        "sevenp-worker publish --from-store --topic copy-of-content --inlet content",
    ),
    text.settings(
        "topic",
        "content_topic",
        "account_topic",
        "billing_topic",
        "xapi_",
        "max_future_hours",
        *text.KAFKA,
        *text.MONGODB,
        "jobs_",
        "operator",
    ),
    text.exit_codes(),
)


@selecting_events
def publish(
    selection: StreamSelection,
    file: Annotated[
        Path | None,
        typer.Argument(
            callback=input_file, help="One event a line, plain or gzip; a pipe will do; - is standard input."
        ),
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name
        Format, typer.Option(help="native: bytes unchanged, valid or not. xapi: video statements.")
    ] = "native",
    check: Annotated[
        bool, typer.Option("--check", help="Look at all lines first; send nothing if one is no valid event.")
    ] = False,
    idempotent: Annotated[
        bool, typer.Option(help="Let the broker drop what is sent twice after a lost answer, if it can.")
    ] = True,
    topic: Annotated[
        str | None,
        typer.Option(
            help="Where all of it goes, instead of each event's own topic; needed with --from-store."
        ),
    ] = None,
    from_store: Annotated[
        bool, typer.Option("--from-store", help="Publish stored events instead of a file.")
    ] = False,
    inlet: Annotated[
        Inlet, typer.Option(help="With --from-store: which events, by the topic they came in at.")
    ] = Inlet.INTERACTIONS,
    rate: Annotated[
        int | None, typer.Option(min=1, help="With --from-store: at most so many events a second.")
    ] = None,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Publish a file of events, each line one record to the topic of its kind, and wait for the acknowledgements.

    Lines that are no valid events are published too, counted, and become dead letters in the worker; see --check.
    A topic that does not exist is not created.

    With --from-store: stored events that meet all of the selection, each as the record its producer would send today.
    To the same store they are duplicates; another one notifies nobody of them. It goes on where it was interrupted.
    """
    if from_store:
        if file is not None or check or format != "native":
            raise typer.BadParameter("a FILE, --check and --format are not for --from-store")
        if topic is None:
            raise typer.BadParameter("--from-store needs --topic: it has no default", param_hint="--topic")
        arguments = asked(PublishStored, topic=topic, inlet=inlet, of=selection, rate=rate)
        run_in_foreground(PUBLISH_STORED, arguments, dry_run=dry_run, as_json=as_json)
    if file is None:
        raise typer.BadParameter("name a FILE, - for standard input, or say --from-store", param_hint="FILE")
    if rate is not None or dry_run or as_json or inlet is not Inlet.INTERACTIONS or not selection.everything:
        raise typer.BadParameter(
            "a selection, --inlet, --rate, --dry-run and --json are only for --from-store"
        )
    publishing = Publishing(file, format, check=check, idempotent=idempotent, topic=topic)
    end_with(publishing.run, interrupted=publishing.left)
