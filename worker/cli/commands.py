"""Every command: its arguments, its help, and the one call it makes."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from worker.app.collector import tune_collector
from worker.app.exits import ExitCode
from worker.app.publishing import open_publisher
from worker.app.serving import opened, serve
from worker.app.signals import StopSignal
from worker.cli import help as text
from worker.cli.dead_letters import dead_letters_app
from worker.cli.ending import end_with, say_error
from worker.cli.options import JsonFlag
from worker.cli.queue import queue_app
from worker.cli.tables import print_changes, print_differences, print_json, print_verification
from worker.contract import export
from worker.devstack.demo import DemoOptions, run_demo
from worker.devstack.stack import KafkaKind
from worker.publish.reader import UnreadableLine, read_records
from worker.replay.verify import verify
from worker.settings import load_settings
from worker.storage.schema import apply_schema, check_schema
from worker.telemetry.logs import configure_logging

Format = Literal["native", "xapi"]

_DEMO = DemoOptions()

# Enough to see what is wrong with a file; the wrong file may have millions.
_MOST_LINES_NAMED = 20

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Learner events from Kafka become versioned events, a time series and progress documents in MongoDB.",
    epilog=text.page(
        text.examples(
            "sevenp-worker demo                      real parts and simulated learners, no set-up",
            "sevenp-worker schema apply              collections, indexes and validators",
            "sevenp-worker run                       the worker, until SIGTERM",
            "sevenp-worker publish events.jsonl.gz   a file of events to the topic",
            "sevenp-worker verify                    do all stored documents agree?",
            "sevenp-worker queue list --group        what failed and waits",
            "sevenp-worker dead-letters list --group what could not be stored",
            "sevenp-worker run --help                every setting",
        ),
        text.exit_codes(),
    ),
)
schema_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Collections, indexes, validators."
)
contract_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What producers publish.")
app.add_typer(schema_app, name="schema")
app.add_typer(contract_app, name="contract")
app.add_typer(queue_app, name="queue")
app.add_typer(dead_letters_app, name="dead-letters")


@app.command(
    epilog=text.page(
        text.examples(
            "SEVENP_MONGODB_URI='mongodb://db/?replicaSet=rs0&tls=true' sevenp-worker run",
            "SEVENP_ROLES=progress SEVENP_HTTP_PORT=9465 sevenp-worker run",
        ),
        text.settings(),
        text.exit_codes(),
    )
)
def run() -> None:
    """Run the worker until SIGTERM or Ctrl-C, then drain and end with 0.

    Checks at start that MongoDB and Kafka answer and that the schema is as needed. Logs are JSON lines on
    stderr. One HTTP port serves /metrics, /livez and /readyz.
    """
    signals = StopSignal()
    signals.install()

    async def work() -> int:
        settings = load_settings()
        configure_logging(settings.log_level)
        tune_collector()
        await serve(settings, signals.event())
        return ExitCode.OK

    end_with(work)


@app.command(
    epilog=text.examples(
        "sevenp-worker publish events.jsonl",
        "sevenp-worker publish statements.json.gz --format xapi",
    )
)
def publish(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="One event a line; .gz is read.")],
    format: Annotated[  # noqa: A002 - the option's name
        Format, typer.Option(help="native: bytes unchanged, valid or not. xapi: video statements.")
    ] = "native",
    idempotent: Annotated[
        bool, typer.Option(help="Let the broker drop what is sent twice after a lost answer, if it can.")
    ] = True,
) -> None:
    """Publish a file of events to the topic, each line one record, and wait until all are acknowledged."""

    async def work() -> int:
        settings = load_settings()
        unreadable: list[UnreadableLine] = []
        records = read_records(file, format, on_unreadable=unreadable.append)
        async with open_publisher(settings, settings.topic, idempotent=idempotent) as publisher:
            report = await publisher.publish(records)
        for line in unreadable[:_MOST_LINES_NAMED]:
            say_error(str(line))
        if (more := len(unreadable) - _MOST_LINES_NAMED) > 0:
            say_error(f"... and {more:,} lines more")
        Console().print(
            f"{report.records:,} records published to {settings.topic} in {report.seconds:.1f} s."
        )
        return ExitCode.USAGE if unreadable else ExitCode.OK

    end_with(work)


@app.command("verify", epilog=text.examples("sevenp-worker verify", "sevenp-worker verify --settled --json"))
def verify_command(
    settled: Annotated[
        bool, typer.Option(help="Nothing is being written: whatever is behind or missing is wrong.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check that events, time series, progress, statistics, outbox and billing agree.

    Only reads; right on a live system. Ends with 0 when everything agrees and with 1 when something was found.
    """

    async def work() -> int:
        async with opened(load_settings()) as database:
            verification = await verify(database, settled=settled)
        if as_json:
            print_json(verification.to_json())
        else:
            print_verification(verification)
        return ExitCode.OK if verification.ok else ExitCode.DIFFERENCE

    end_with(work)


@schema_app.command("apply")
def schema_apply() -> None:
    """Create what is missing, replace validators that differ, drop nothing. May be repeated at any time."""

    async def work() -> int:
        settings = load_settings()
        async with opened(settings) as database:
            print_changes(await apply_schema(database, external=settings.external_collections))
        return ExitCode.OK

    end_with(work)


@schema_app.command("check")
def schema_check(as_json: JsonFlag = False) -> None:
    """Show what differs from what this version needs; ends with 1 when something does. Changes nothing."""

    async def work() -> int:
        settings = load_settings()
        async with opened(settings) as database:
            found = await check_schema(database, external=settings.external_collections)
        if as_json:
            print_json(
                [
                    {"collection": d.collection, "what": d.what, "expected": d.expected, "found": d.found}
                    for d in found
                ]
            )
        else:
            print_differences(found)
        return ExitCode.DIFFERENCE if found else ExitCode.OK

    end_with(work)


@contract_app.command("export")
def contract_export(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Where to write; made if absent.")],
) -> None:
    """Write the JSON Schema of an event and one valid example of each type."""

    async def work() -> int:
        for path in export.write(folder):
            Console(soft_wrap=True, highlight=False).print(str(path), markup=False)
        return ExitCode.OK

    end_with(work)


@app.command(
    epilog=text.examples(
        "sevenp-worker demo --events 20000",
        "sevenp-worker demo --input statements.json.gz --format xapi --json result.json",
    )
)
def demo(
    events: Annotated[int, typer.Option(min=1, help="Simulated events to publish.")] = _DEMO.events,
    seed: Annotated[int, typer.Option(help="The simulated learners' seed.")] = _DEMO.seed,
    input: Annotated[  # noqa: A002 - the option's name
        Path | None, typer.Option(exists=True, dir_okay=False, help="Publish this file instead.")
    ] = None,
    format: Annotated[Format | None, typer.Option(help="The file's format; native if not said.")] = None,  # noqa: A002
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="Write the summary here.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")] = False,
    worker_url: Annotated[str | None, typer.Option(help="A worker that already runs (see --keep).")] = None,
    stack: Annotated[
        KafkaKind, typer.Option(help="Kafka to start: embedded, or apache (needs Java 17 and Maven).")
    ] = _DEMO.stack,
) -> None:
    """Start real servers and the worker, publish learner events, and prove that every document is right.

    Servers come from wheels, unless SEVENP_MONGODB_URI or SEVENP_KAFKA_BOOTSTRAP_SERVERS name others.
    """
    if format is not None and input is None:
        raise typer.BadParameter("is that of --input, which is missing", param_hint="--format")

    async def work() -> int:
        settings = load_settings()
        given = settings.model_fields_set
        options = DemoOptions(
            events=events,
            seed=seed,
            input=input,
            format=format or "native",
            json=json,
            keep=keep,
            mongodb_uri=settings.mongodb_uri.get_secret_value() if "mongodb_uri" in given else None,
            kafka_bootstrap_servers=(
                settings.kafka_bootstrap_servers if "kafka_bootstrap_servers" in given else None
            ),
            worker_url=worker_url,
            database_prefix=settings.database_prefix,
            topic=settings.topic,
            kafka_group_id=settings.kafka_group_id,
            stack=stack,
        )
        return await run_demo(options)

    end_with(work)
