"""Whose names the demo uses: on servers that were named, names of its own, unless the options say otherwise."""

import os
from dataclasses import replace

from rich.console import Console

from worker.contract.routes import USUAL_TOPICS, Topics
from worker.devstack.demo.kept import read_worker_url
from worker.devstack.demo.options import DemoOptions, Names
from worker.devstack.servers.stack import Stack
from worker.devstack.servers.worker_process import WorkerProbe
from worker.storage.database import make_client, open_database
from worker.storage.driver import close

# Nothing real is called like this, so nothing real is touched.
OWN_NAMES = Names(
    database_prefix="sevenp_demo",
    topics=Topics(
        "sevenp-demo-events",
        *(f"sevenp-demo-{topic}" for topic in USUAL_TOPICS if topic != USUAL_TOPICS.interactions),
    ),
    kafka_group_id="sevenp-demo",
)
_PREFIX = "SEVENP_"


async def choose_names(stack: Stack, options: DemoOptions, console: Console) -> DemoOptions:
    """The options with the names this run uses, after saying so where others use these servers, too.

    Servers of our own, `as_configured`, and those of a demo that was kept there: the names of the settings.
    """
    if stack.is_ours:
        return options
    if options.as_configured:
        _say(console, "as configured", options.names, "notifications as SEVENP_NOTIFY_ROUTES says")
        return options
    if await _kept_there(stack, options):
        return options
    own = replace(options, names=OWN_NAMES)
    _say(console, "under names of the demo's own", own.names, "notifications to the worker's log")
    console.print(
        "  (--as-configured, for make AS_CONFIGURED=1, uses the names and channels of your settings instead)",
        highlight=False,
        soft_wrap=True,
    )
    return own


def what_stays(options: DemoOptions) -> str:
    """What a demo leaves on servers that are not its own."""
    names = options.names
    return f"databases {names.database_prefix}_content, _analytics and _config, and topics {', '.join(names.topics)}"


def worker_environment(stack: Stack, options: DemoOptions) -> dict[str, str]:
    """What the worker's environment has over ours: without `as_configured`, nothing of our settings but the servers'.

    An empty variable is the default; secret files are looked for in an empty folder.
    """
    if options.as_configured:
        return {}
    nowhere = stack.folder / "no-secrets"
    nowhere.mkdir(exist_ok=True)
    unset = {name: "" for name in os.environ if name.upper().startswith(_PREFIX)}
    return {**unset, "SEVENP_SECRETS_DIR": str(nowhere), **options.server_settings}


async def _kept_there(stack: Stack, options: DemoOptions) -> bool:
    """A demo that was kept runs on these servers, under the names of the settings, and its worker answers."""
    client = make_client(stack.mongodb_uri, security=options.mongodb)
    try:
        database = open_database(client, options.names.database_prefix)
        url = await read_worker_url(database, stack.kafka_bootstrap_servers)
    finally:
        await close(client)
    return url is not None and await WorkerProbe(url, None).counts(options.names.topic) is not None


def _say(console: Console, how: str, names: Names, notifications: str) -> None:
    more = len(tuple(names.topics)) - 1
    topics = f"topic {names.topic}" + (f" (and {more} more)" if more else "")
    console.print(
        f"on servers you named, {how}: databases {names.database_prefix}_*, {topics}, consumer group "
        f"{names.kafka_group_id}, {notifications}",
        highlight=False,
        soft_wrap=True,
    )
