"""Every command: its name, its summary in the list, and its module, which is imported when it is called."""

from typing import Annotated

import typer

from worker.cli import help as text
from worker.cli.lazy import Entry, lazy_group
from worker.release import version_lines

COMMANDS: tuple[Entry, ...] = (
    Entry(
        "demo",
        "Start real servers and the worker, publish a platform's events, and prove that every document is right.",
        "worker.cli.demo",
        "demo",
    ),
    Entry(
        "publish",
        "Publish a file of events, each line one record to the topic of its kind, and wait for the acknowledgements.",
        "worker.cli.publish",
        "publish",
    ),
    Entry(
        "status",
        "Show workers, leases, lag, depths, jobs, what is paused, the last checks, and what is away.",
        "worker.cli.status",
        "status",
    ),
    Entry("schedule", "Run jobs by the clock until SIGTERM or Ctrl-C.", "worker.cli.scheduling", "schedule"),
    Entry(
        "explain",
        "Show which events changed a field of a stream's documents, with its value after each, and by which rule.",
        "worker.cli.explaining",
        "explain",
    ),
    Entry(
        "trace",
        "Follow one event: record, event store, time series, documents, statistics, notifications, billing.",
        "worker.cli.tracing",
        "trace",
    ),
    Entry(
        "adopt",
        "Make the platform's own records of learners the worker's: each becomes one opening event of its stream.",
        "worker.cli.adopting",
        "adopt",
    ),
    Entry(
        "reingest",
        "Read the topics again, up to what the live group has committed, beside workers that go on.",
        "worker.cli.reingest",
        "reingest",
    ),
    Entry(
        "backfill",
        "Publish files of past events to the topic: stored like all others, and nobody is notified of them.",
        "worker.cli.backfill",
        "backfill",
    ),
    Entry(
        "verify",
        "Check that events, time series, progress, statistics, outbox and billing agree.",
        "worker.cli.verifying",
        "verify_command",
    ),
    Entry(
        "promote",
        "Put what was built under a name in place of the live documents that differ; these are kept.",
        "worker.cli.rebuild",
        "promote",
        "PROMOTE_EPILOG",
    ),
    Entry(
        "rollback",
        "Put back the documents that a promotion has replaced.",
        "worker.cli.rebuild",
        "rollback",
        "ROLLBACK_EPILOG",
    ),
    Entry(
        "check-upcasters",
        "Run every stored event through the contract of this code, and show what would fail.",
        "worker.cli.upcasters",
        "check_upcasters",
    ),
    Entry(
        "doctor",
        "Look for what is wrong with MongoDB, Kafka and the settings, and say what mends it.",
        "worker.cli.doctor",
        "doctor",
    ),
    Entry(
        "capacity",
        "Bytes per event and day, oplog hours, index sizes, and when the disk is full.",
        "worker.cli.doctor",
        "capacity",
        "CAPACITY_EPILOG",
    ),
    Entry(
        "run",
        "Run the worker until SIGTERM or Ctrl-C, then drain and end with 0.",
        "worker.cli.running",
        "run",
    ),
    Entry("schema", "Collections, indexes, validators.", "worker.cli.schema", "schema_app"),
    Entry("topic", "The topics that the worker reads.", "worker.cli.topics", "topic_app"),
    Entry("settings", "How the worker is set.", "worker.cli.setting_values", "settings_app"),
    Entry("contract", "What producers publish.", "worker.cli.contract", "contract_app"),
    Entry(
        "jobs",
        "Jobs: rebuild, check, read again. What runs, what ran, and how it ended.",
        "worker.cli.jobs",
        "jobs_app",
    ),
    Entry(
        "control",
        "What is paused, limited and logged, while the workers run: every worker follows within seconds.",
        "worker.cli.control",
        "control_app",
    ),
    Entry("queue", "What failed and waits to be tried again.", "worker.cli.queue", "queue_app"),
    Entry(
        "dead-letters",
        "Records that could not be stored, with their bytes.",
        "worker.cli.dead_letters",
        "dead_letters_app",
    ),
    Entry("events", "What is stored of a stream.", "worker.cli.events", "events_app"),
    Entry(
        "rebuild",
        "Make again what is kept, from what it follows from; readers never see less meanwhile.",
        "worker.cli.rebuild",
        "rebuild_app",
    ),
)
"""THE registration, in the order of the help."""

app = typer.Typer(
    cls=lazy_group(COMMANDS),
    no_args_is_help=True,
    rich_markup_mode=None,
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


def _print_version(wanted: bool) -> None:
    if wanted:
        for line in version_lines():
            typer.echo(line)
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Show the versions of the worker, its source, Python and the drivers.",
        ),
    ] = False,
) -> None:
    """Options of no command."""
