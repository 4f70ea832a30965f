"""`sevenp-worker demo`: its arguments, and which servers and names it may use."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr

from worker.app.dependencies import kafka_probe, require_answers
from worker.app.mongodb import mongodb_options
from worker.app.opening import mongodb_probe_of
from worker.cli import help as text
from worker.cli.ending import end_with
from worker.cli.options import Format, input_file, output_file
from worker.devstack.demo.names import what_stays
from worker.devstack.demo.options import Names
from worker.devstack.demo.run import DemoOptions, run_demo
from worker.devstack.servers.stack import KafkaKind
from worker.kafka.security import kafka_options
from worker.settings import Settings, load_settings, variable

_DEMO = DemoOptions()
# What the demo reads itself.
_ITS_OWN = {
    *("database_prefix", "kafka_group_id", "xapi_home_page", "secrets_dir"),
    *("topic", "content_topic", "account_topic", "billing_topic", "worker_topic"),
}
# What it decides even where the worker is set as configured.
_ALWAYS_ITS_OWN = {"roles", "start_policy", "http_port"}


EPILOG = text.page(
    text.examples(
        "sevenp-worker demo --events 20000",
        "sevenp-worker demo --input statements.json.gz --format xapi --json result.json",
    ),
    text.settings(*text.MONGODB, *text.KAFKA, "kafka_group_id", "topic", "xapi_", "notify_"),
)


def demo(
    events: Annotated[
        int | None, typer.Option(min=1, help=f"Simulated learners' events; {_DEMO.events:,} if not said.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help=f"The simulation's seed; {_DEMO.seed} if not said.")
    ] = None,
    input: Annotated[  # noqa: A002 - the option's name
        Path | None,
        typer.Option(callback=input_file, help="Publish this file of learners' events, and no platform."),
    ] = None,
    format: Annotated[Format | None, typer.Option(help="The file's format; native if not said.")] = None,  # noqa: A002
    json: Annotated[
        Path | None, typer.Option(dir_okay=False, callback=output_file, help="Write the summary here.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")] = False,
    worker_url: Annotated[str | None, typer.Option(help="A worker that already runs (see --keep).")] = None,
    stack: Annotated[
        KafkaKind, typer.Option(help="Kafka to start: embedded, or apache (needs Java 17 and Maven).")
    ] = _DEMO.stack,
    as_configured: Annotated[
        bool,
        typer.Option(
            "--as-configured", help="On named servers: your database prefix, topic, group and channels."
        ),
    ] = False,
) -> None:
    """Start real servers and the worker, publish a platform's events, and prove that every document is right.

    Servers come from wheels, unless SEVENP_MONGODB_URI or SEVENP_KAFKA_BOOTSTRAP_SERVERS name others. On those the
    demo uses a database prefix, a topic and a consumer group of its own, and notifies nobody: see --as-configured.
    """
    if format is not None and input is None:
        raise typer.BadParameter("is that of --input, which is missing", param_hint="--format")
    if input is not None and (events is not None or seed is not None):
        raise typer.BadParameter(
            "publishes a file, --events and --seed simulate: leave one of them out", param_hint="--input"
        )
    said: dict[str, Any] = {"events": events, "seed": seed, "input": input, "format": format, "json": json}
    chosen = {name: value for name, value in said.items() if value is not None}
    options = replace(_DEMO, keep=keep, worker_url=worker_url, stack=stack, as_configured=as_configured)
    _run(replace(options, **chosen))


def _run(asked: DemoOptions) -> None:
    on_named_servers: list[DemoOptions] = []

    async def work() -> int:
        settings = load_settings()
        options = _with_settings(asked, settings)
        # Named servers are asked before anything is started: all that are absent are told at once.
        probes = [mongodb_probe_of(settings)] if options.mongodb_uri is not None else []
        if options.kafka_bootstrap_servers is not None:
            probes.append(kafka_probe(options.kafka_bootstrap_servers, (), options.kafka))
        await require_answers(probes)
        return await run_demo(options, on_names=on_named_servers.append)

    def left() -> str:
        stays = [f"; on the servers you named stay {what_stays(used)}" for used in on_named_servers]
        return f"everything that was started here is stopped{''.join(stays)}"

    end_with(work, interrupted=left)


def _with_settings(asked: DemoOptions, settings: Settings) -> DemoOptions:
    """What the settings add: names, and what the demo has to know of servers that they name."""
    given = settings.chosen
    options: dict[str, Any] = {
        **({"owned": settings.ownership.owned} if asked.as_configured else {}),
        "xapi_home_page": settings.ingest.xapi_home_page,
        "names": Names(settings.mongodb.database_prefix, settings.ingest.topics, settings.kafka.group_id),
    }
    reaching = {"allow_plaintext", "allow_test_commands"}
    if "mongodb_uri" in given:
        options["mongodb_uri"] = settings.mongodb.uri.get_secret_value()
        options["mongodb"] = mongodb_options(settings.mongodb)
        reaching |= {name for name in given if name.startswith("mongodb_")}
    if "kafka_bootstrap_servers" in given:
        options["kafka_bootstrap_servers"] = settings.kafka.bootstrap_servers
        options["kafka"] = kafka_options(settings.kafka)
        reaching |= {name for name in given if name.startswith("kafka_") and "_group_" not in name}
    options["unheeded"] = tuple(sorted(map(variable, given.keys() - reaching - _heeded(asked, given))))
    server_settings = {variable(name): _written(given[name]) for name in reaching & given.keys()}
    return replace(asked, server_settings=server_settings, **options)


def _heeded(asked: DemoOptions, given: Mapping[str, Any]) -> set[str]:
    """The settings that the demo goes by, or says that it does not, besides those of the servers."""
    return given.keys() - _ALWAYS_ITS_OWN if asked.as_configured else _ITS_OWN


def _written(value: object) -> str:
    """A setting as its variable holds it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value).lower() if isinstance(value, bool) else str(value)
