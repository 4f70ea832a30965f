"""Every command: its arguments, its help, and the one call it makes."""

from dataclasses import asdict, astuple
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from worker.app.collector import tune_collector
from worker.app.exits import ExitCode
from worker.app.opening import opened_to_change
from worker.app.serving import serve
from worker.app.signals import StopSignal
from worker.cli import adopting, backfill, explaining, publish, reingest, scheduling, status, tracing
from worker.cli import help as text
from worker.cli.about import about, settings_app
from worker.cli.auditing import audited
from worker.cli.control import control_app
from worker.cli.dead_letters import dead_letters_app
from worker.cli.demo import EPILOG, demo
from worker.cli.doctor import CAPACITY_EPILOG, capacity, doctor
from worker.cli.doctor import EPILOG as DOCTOR_EPILOG
from worker.cli.ending import end_with, run_to_end
from worker.cli.events import events_app
from worker.cli.jobs import jobs_app
from worker.cli.options import Commands, JsonFlag
from worker.cli.queue import queue_app
from worker.cli.rebuild import PROMOTE_EPILOG, ROLLBACK_EPILOG, promote, rebuild_app, rollback
from worker.cli.tables import print_json, print_table
from worker.cli.topics import topic_app
from worker.cli.upcasters import EPILOG as CHECK_EPILOG
from worker.cli.upcasters import check_upcasters
from worker.cli.verifying import EPILOG as VERIFY_EPILOG
from worker.cli.verifying import verify_command
from worker.contract import export
from worker.settings import load_settings
from worker.storage.schema import apply_schema, apply_to, check_schema
from worker.telemetry.logs import configure_logging

app = Commands(
    pretty_exceptions_enable=False,
    help="Learner events from Kafka become versioned events, a time series and progress documents in MongoDB.",
    epilog=text.page(
        text.examples(
            "sevenp-worker demo                      real parts and simulated learners, no set-up",
            "sevenp-worker schema apply              collections, indexes and validators",
            "sevenp-worker run                       the worker, until SIGTERM",
            "sevenp-worker publish events.jsonl.gz   a file of events to the topic",
            "sevenp-worker topic apply               the topic, as it is to be",
            "sevenp-worker status                    who works, what waits, what does not answer?",
            "sevenp-worker settings show             how it is set, and by what",
            "sevenp-worker doctor                    what is wrong with MongoDB, Kafka and settings?",
            "sevenp-worker capacity                  how fast does it grow, and when is the disk full?",
            "sevenp-worker verify                    do all stored documents agree?",
            "sevenp-worker schedule --next 3         jobs by the clock: when does what run?",
            "sevenp-worker explain USER COURSE FIELD which events changed it, and how",
            "sevenp-worker trace EVENT_ID            where has this event come to?",
            "sevenp-worker events show STREAM        what is stored of a learner in a course",
            "sevenp-worker jobs list                 what runs, and what ran",
            "sevenp-worker rebuild progress --dry-run what would be mended",
            "sevenp-worker check-upcasters           can this code read what is stored?",
            "sevenp-worker reingest --missing        what a restored MongoDB lacks, from Kafka",
            "sevenp-worker control show              what is paused or limited, and why",
            "sevenp-worker queue list --group        what failed and waits",
            "sevenp-worker dead-letters list --group what could not be stored",
            "sevenp-worker run --help                every setting",
        ),
        text.exit_codes(),
    ),
)
schema_app = Commands(help="Collections, indexes, validators.")
contract_app = Commands(help="What producers publish.")
app.callback()(about)
app.command(epilog=EPILOG)(demo)
app.command(epilog=publish.EPILOG)(publish.publish)
app.command(epilog=status.EPILOG)(status.status)
app.command(epilog=scheduling.EPILOG)(scheduling.schedule)
app.command(epilog=explaining.EPILOG)(explaining.explain)
app.command(epilog=tracing.EPILOG)(tracing.trace)
app.command(epilog=adopting.EPILOG)(adopting.adopt)
app.command(epilog=reingest.EPILOG)(reingest.reingest)
app.command(epilog=backfill.EPILOG)(backfill.backfill)
app.add_typer(schema_app, name="schema")
app.add_typer(topic_app, name="topic")
app.add_typer(settings_app, name="settings")
app.add_typer(contract_app, name="contract")
app.add_typer(jobs_app, name="jobs")
app.add_typer(control_app, name="control")
app.add_typer(queue_app, name="queue")
app.add_typer(dead_letters_app, name="dead-letters")
app.command("verify", epilog=VERIFY_EPILOG)(verify_command)
app.add_typer(events_app, name="events")
app.add_typer(rebuild_app, name="rebuild")
app.command(epilog=PROMOTE_EPILOG)(promote)
app.command(epilog=ROLLBACK_EPILOG)(rollback)
app.command(epilog=CHECK_EPILOG)(check_upcasters)
app.command(epilog=DOCTOR_EPILOG)(doctor)
app.command(epilog=CAPACITY_EPILOG)(capacity)


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

    Checks at start that MongoDB and Kafka answer and that the schema is as needed. Logs go to stderr: columns on a
    terminal, JSON lines elsewhere. One HTTP port serves /metrics, /livez and /readyz.
    """
    signals = StopSignal()
    signals.install()

    async def work() -> None:
        settings = load_settings()
        configure_logging(settings.process.log_level, form=settings.process.log_format)
        tune_collector()
        await serve(settings, signals.event())

    end_with(work)


@schema_app.command("apply", epilog=text.settings(*text.MONGODB, "external_collections", "retention_"))
@run_to_end("what is made stays; run it again, it makes what is missing")
async def schema_apply() -> None:
    """Create what is missing, set validators and retention that differ, drop nothing. May be repeated at any time."""
    settings = load_settings()
    async with opened_to_change(settings) as database:
        external, retention = settings.mongodb.external_collections, settings.retention
        # Before anything else the collection in which it is noted that the rest is made.
        changes = await apply_to("audit", database, external=external, retention=retention)
        async with audited(database, settings, "schema apply", {}) as outcome:
            changes += await apply_schema(database, external=external, retention=retention)
            outcome["changes"] = [" ".join(astuple(change)) for change in changes]
    rows = [astuple(change) for change in changes]
    print_table(rows, ("collection", "what", "done"), empty="Nothing to do: all is as it should be.")


@schema_app.command("check", epilog=text.settings(*text.MONGODB, "external_collections", "retention_"))
@run_to_end()
async def schema_check(as_json: JsonFlag = False) -> ExitCode:
    """Show what differs from what this version needs; ends with 1 when something does. Changes nothing."""
    settings = load_settings()
    async with opened_to_change(settings) as database:
        external = settings.mongodb.external_collections
        found = await check_schema(database, external=external, retention=settings.retention)
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        rows = [astuple(difference) for difference in found]
        print_table(rows, ("collection", "what", "expected", "found"), empty="No differences.")
    return ExitCode.DIFFERENCE if found else ExitCode.OK


@contract_app.command("export", epilog="It reads no settings.")
@run_to_end("some files may be missing; run it again")
async def contract_export(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Where to write; made if absent.")],
) -> None:
    """Write a JSON Schema for each topic and one valid example of each event type."""
    for path in export.write(folder):
        Console(soft_wrap=True, highlight=False).print(str(path), markup=False)
