"""The demo: starts everything, publishes a platform's events, watches them arrive, and proves that all is there.

For the command line: `run_demo(options)` returns the process's exit code, 0 only if everything agrees. Run it
by `asyncio.run` in the main thread. It prints by itself and raises `worker.errors.Fatal` (or `Retryable`) with
a message for people when something does not start or stops moving. `DemoOptions` is in
`worker.devstack.demo.options`.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from rich.console import Console

from projections.catalogue import catalogue_for
from worker.devstack.demo.input import DemoInput
from worker.devstack.demo.kept import read_worker_url
from worker.devstack.demo.names import choose_names, what_stays, worker_environment
from worker.devstack.demo.options import DemoOptions
from worker.devstack.demo.steps import DemoRun, raise_if_cancelled
from worker.devstack.demo.summary import write_json
from worker.devstack.servers.stack import Stack
from worker.devstack.servers.worker_process import WorkerProbe, start_worker
from worker.errors import Fatal
from worker.settings import Channel, NotificationKind, RoleName
from worker.settings.ingest import topic_variables
from worker.settings.ownership import owner_variables
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close
from worker.storage.schema import apply_schema
from worker.telemetry.logs import configure_logging
from worker.timing import SystemClock
from worker.words import counted

__all__ = ["DemoOptions", "run_demo"]

CLOCK = SystemClock()
NO_TERMINAL_WIDTH = 120
# Simulated learners live in 2025, and what a file holds happened when it did: the demo announces it all the same.
_LONG_AGO_HOURS = "800000"
TERMINATED = 128 + signal.SIGTERM  # what a shell makes of a process that SIGTERM ended


async def run_demo(
    options: DemoOptions,
    console: Console | None = None,
    *,
    on_names: Callable[[DemoOptions], None] = lambda _options: None,
) -> int:
    """Run the demo once; with `options.keep` leave everything running until Ctrl-C. Returns the exit code.

    SIGTERM ends it as Ctrl-C does: everything that was started is stopped on the way out. `on_names` learns the
    options with the names this run uses once it is about to write to servers that are not its own.
    """
    run = asyncio.create_task(_run(options, console or _console(), on_names))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, run.cancel)
    try:
        return await asyncio.shield(run)
    except asyncio.CancelledError:
        if run.cancelled():
            return TERMINATED
        # Ctrl-C: asyncio.run makes it KeyboardInterrupt.
        run.cancel()
        await _wait_until_ended(run)
        raise


async def _wait_until_ended(run: "asyncio.Task[int]") -> None:
    """Wait until all is stopped, however many signals come: servers must not die before their worker."""
    while not run.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({run})


async def _run(options: DemoOptions, console: Console, on_names: Callable[[DemoOptions], None]) -> int:
    """0 if everything agrees, else 1.

    1. servers and schema  2. worker  3. publish and watch until drained, let the platform's late documents follow
    4. compare, verify, summarise  5. keep or stop
    """
    agreed = False
    # 1. servers and schema
    async with _named_stack(options, console) as (stack, options), _database(stack, options) as database:
        if not stack.is_ours:
            on_names(options)
        if options.unheeded:
            names = ", ".join(options.unheeded)
            console.print(f"set, and not heeded by the demo: {names}", soft_wrap=True, highlight=False)
        changes = await apply_schema(database)
        console.print(
            f"schema applied to {options.names.database_prefix}_*: {counted(len(changes), 'change')}",
            highlight=False,
        )
        raise_if_cancelled()
        # 2. worker
        async with _worker(stack, database, options, console) as worker:
            run = DemoRun(stack, database, worker, options, DemoInput.prepare(options), console, CLOCK)
            # 3. publish and watch
            before = await run.before()
            watch, seconds = await run.publish_and_watch(before)
            await run.after(watch)
            # 4. compare, verify, summarise
            summary = await run.summarise(before, watch, seconds)
            await run.show(summary)
            if options.json is not None:
                write_json(options.json, summary)
            agreed = summary.verified
            # 5. keep or stop
            if options.keep:
                await run.keep()
        if not stack.is_ours:
            console.print(
                f"left on the servers you named: {what_stays(options)}", soft_wrap=True, highlight=False
            )
    return 0 if agreed else 1


# ---- what is started, and ended whatever happens ----


@asynccontextmanager
async def _named_stack(options: DemoOptions, console: Console) -> AsyncIterator[tuple[Stack, DemoOptions]]:
    """The servers, and the options with the names that this run uses on them."""
    async with _stack(options, console) as stack:
        options = await choose_names(stack, options, console)
        if options.input is None and not (options.plays_platform or options.as_configured):
            # Without topics for their events courses and users are somebody else's: the demo writes them itself.
            options = replace(options, owned=frozenset())
        for topic in options.names.topics:
            await stack.create_topic(topic, options.partitions, options.kafka)
        yield stack, options


@asynccontextmanager
async def _stack(options: DemoOptions, console: Console) -> AsyncIterator[Stack]:
    stack = await Stack.start(
        mongodb_uri=options.mongodb_uri,
        kafka_bootstrap_servers=options.kafka_bootstrap_servers,
        kafka=options.stack,
    )
    failed = True
    try:
        with (stack.folder / "demo.log").open("w", encoding="utf-8") as log:
            configure_logging("info", log)
            console.print(f"MongoDB at {_without_credentials(stack.mongodb_uri)}", highlight=False)
            console.print(f"Kafka at {stack.kafka_bootstrap_servers}", highlight=False)
            yield stack
        failed = False
    except asyncio.CancelledError:
        failed = False  # stopped by people: nothing to look into
        raise
    finally:
        if failed:
            console.print(f"logs are kept in {stack.folder}", highlight=False)
        await stack.stop(keep_logs=failed)


@asynccontextmanager
async def _database(stack: Stack, options: DemoOptions) -> AsyncIterator[Database]:
    client = make_client(stack.mongodb_uri, security=options.mongodb)
    try:
        yield open_database(client, options.names.database_prefix, catalogue_for(options.owned))
    finally:
        await close(client)


@asynccontextmanager
async def _worker(
    stack: Stack, database: Database, options: DemoOptions, console: Console
) -> AsyncIterator[WorkerProbe]:
    """The worker that runs there already, or one of our own, which must end with exit code 0."""
    running = options.worker_url or await _kept_worker(stack, database, options)
    if running is not None:
        console.print(f"using the worker at {running}", highlight=False)
        yield WorkerProbe(running, None)
        return
    worker = start_worker(stack.folder, _settings(stack, options))
    process = worker.process
    try:
        console.print(f"worker at {worker.url}", highlight=False)
        yield worker
    finally:
        if process is not None:
            await asyncio.to_thread(process.stop, 40.0)  # its drain deadline is 20 s
    if process is not None and process.returncode != 0:
        raise Fatal(f"the worker ended with exit code {process.returncode}:\n{process.log_tail()}")


async def _kept_worker(stack: Stack, database: Database, options: DemoOptions) -> str | None:
    url = await read_worker_url(database, stack.kafka_bootstrap_servers)
    if url is None or await WorkerProbe(url, None).counts(options.names.topic) is None:
        return None
    return url


def _settings(stack: Stack, options: DemoOptions) -> dict[str, str]:
    own = {
        "SEVENP_NOTIFY_ROUTES": ",".join(f"{kind}={Channel.LOG}" for kind in NotificationKind),
        "SEVENP_NOTIFY_WITHIN_HOURS": _LONG_AGO_HOURS,
        **owner_variables(options.owned),
    }
    return {
        **worker_environment(stack, options),
        **({} if options.as_configured else own),
        "SEVENP_MONGODB_URI": stack.mongodb_uri,
        "SEVENP_KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "SEVENP_KAFKA_GROUP_ID": options.names.kafka_group_id,
        "SEVENP_DATABASE_PREFIX": options.names.database_prefix,
        **topic_variables(options.names.topics),
        "SEVENP_ROLES": ",".join(RoleName),
        "SEVENP_START_POLICY": "earliest",
    }


def _console() -> Console:
    """As wide as the terminal; wide enough for the tables where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=NO_TERMINAL_WIDTH)


def _without_credentials(uri: str) -> str:
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
