"""A kept demo says in MongoDB where its worker is, so that a second demo on the same servers finds the worker."""

import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from worker.devstack.demo.options import DemoOptions, Names
from worker.devstack.servers.stack import Stack
from worker.settings.ingest import topic_variables
from worker.settings.ownership import owner_variables
from worker.storage.database import Database
from worker.storage.errors import translated

_KEY = {"key": "demo_worker_url"}


async def leave_worker_url(database: Database, bootstrap_servers: str, worker_url: str) -> None:
    """Say which worker reads these brokers and writes this database."""
    setting = {**_KEY, "value": {"url": worker_url, "kafka": bootstrap_servers}, "environment": "development"}
    with translated():
        await database.system_settings.replace_one(_KEY, setting, upsert=True)


async def remove_worker_url(database: Database) -> None:
    """Remove that; harmless when nothing is there."""
    with translated():
        await database.system_settings.delete_one(_KEY)


async def read_worker_url(database: Database, bootstrap_servers: str) -> str | None:
    """URL of the kept demo's worker on this database and these brokers; it may have ended since."""
    with translated():
        setting = await database.system_settings.find_one(_KEY)
    if setting is None or setting["value"].get("kafka") != bootstrap_servers:
        return None
    return str(setting["value"]["url"])


def print_urls(console: Console, stack: Stack, worker_url: str, options: DemoOptions) -> None:
    """Where everything is and how to look at it."""
    console.rule("still running: Ctrl-C ends it")
    uri, servers = stack.mongodb_uri, stack.kafka_bootstrap_servers
    database = f"{options.names.database_prefix}_content"
    mongodb_set = f"SEVENP_MONGODB_URI='{uri}'"
    servers_set = f"{mongodb_set} SEVENP_KAFKA_BOOTSTRAP_SERVERS={servers}"
    prefix, others = _unusual_names(options.names)
    owners = _set(owner_variables(options.owned))
    lines = {
        "MongoDB": uri,
        "Kafka": servers,
        "metrics": f"{worker_url}/metrics",
        "health": f"{worker_url}/readyz",
        "logs": str(stack.folder),
        "look": f"mongosh '{uri}' --eval 'db.getSiblingDB(\"{database}\").user_progress.findOne()'",
        "status": f"{servers_set}{owners}{_set(prefix)}{_set(others)} {_program()} status",
        "publish again": f"{servers_set} make demo {_same_input(options)}",
        "verify": f"{mongodb_set}{_set(prefix)}{owners} {_program()} verify",
    }
    for name, value in lines.items():
        console.print(f"{name:<14} {value}", soft_wrap=True, highlight=False, markup=False)


def _unusual_names(names: Names) -> tuple[dict[str, str], dict[str, str]]:
    """The variable of the databases' prefix, and those of Kafka's names, where they are not the defaults."""
    usual = Names()
    prefix = {"SEVENP_DATABASE_PREFIX": names.database_prefix}
    kafka = {"SEVENP_KAFKA_GROUP_ID": names.kafka_group_id, **topic_variables(names.topics)}
    defaults = {"SEVENP_KAFKA_GROUP_ID": usual.kafka_group_id, **topic_variables(usual.topics)}
    return (
        {} if names.database_prefix == usual.database_prefix else prefix,
        {variable: name for variable, name in kafka.items() if name != defaults[variable]},
    )


def _set(variables: Mapping[str, str]) -> str:
    """As a command line has them behind others."""
    return "".join(f" {name}={value}" for name, value in variables.items())


def _program() -> str:
    """The script as it was started: `make demo` has it in its environment, not on the path."""
    return sys.argv[0] if Path(sys.argv[0]).name == "sevenp-worker" else "sevenp-worker"


def _same_input(options: DemoOptions) -> str:
    """What makes `make demo` publish the same again: then nothing but the duplicates grows."""
    switch = " AS_CONFIGURED=1" if options.as_configured else ""
    if options.input is not None:
        return f"INPUT='{options.input}' FORMAT={options.format}{switch}"
    return f"EVENTS={options.events} SEED={options.seed}{switch}"
