"""The demo: starts everything, publishes learner events, watches them arrive, and proves that all is there.

For the command line: `run_demo(options)` returns the process's exit code, 0 only if everything agrees. Run it
by `asyncio.run` in the main thread. It prints by itself and raises `worker.errors.Fatal` (or `Retryable`) with
a message for people when something does not start or stops moving. `DemoOptions` is in
`worker.devstack.demo.options`.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from rich.console import Console

from worker.devstack.demo.arrival import Published, RunWatch, make_display
from worker.devstack.demo.input import DemoInput
from worker.devstack.demo.kept import leave_worker_url, print_urls, read_worker_url, remove_worker_url
from worker.devstack.demo.names import settle_names, what_stays, worker_environment
from worker.devstack.demo.options import DemoOptions
from worker.devstack.demo.platform_writes import until_sent, until_statistics, write_platform
from worker.devstack.demo.progress_check import Difference, compare
from worker.devstack.demo.statistics_check import compare_statistics, read_shown
from worker.devstack.demo.stored import (
    Totals,
    count_known,
    count_totals,
    dead_letter_reasons,
    example_of,
    progress_documents,
)
from worker.devstack.demo.summary import Summary, write_json
from worker.devstack.demo.tables import print_course, print_learner, print_totals
from worker.devstack.servers.stack import Stack
from worker.devstack.servers.topics import topic_ends
from worker.devstack.servers.worker_process import WorkerCounts, WorkerProbe, start_worker
from worker.devstack.simulator.platform_documents import Moment
from worker.devstack.simulator.simulation import Simulation
from worker.devstack.simulator.totals import write_ledger
from worker.errors import Fatal
from worker.kafka.producer import Publisher
from worker.settings import Channel, NotificationKind, RoleName
from worker.storage.database import Database, make_client, open_database
from worker.storage.driver import close
from worker.storage.schema import apply_schema
from worker.telemetry.logs import configure_logging
from worker.timing import SystemClock
from worker.verify.run import verify
from worker.words import counted

__all__ = ["DemoOptions", "run_demo"]

CLOCK = SystemClock()
NO_TERMINAL_WIDTH = 120
LOOK_EVERY_S = 0.5  # at what is kept running
# Simulated learners live in 2025, and what a file holds happened when it did: the demo announces it all the same.
_LONG_AGO_HOURS = "800000"
TERMINATED = 128 + signal.SIGTERM  # what a shell makes of a process that SIGTERM ended


@dataclass(frozen=True, slots=True)
class Before:
    """How everything stood before the first record: what this run adds is measured against it."""

    totals: Totals
    counts: WorkerCounts
    ends: Mapping[int, int]
    known: int


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
        await _over(run)
        raise


async def _over(run: "asyncio.Task[int]") -> None:
    """Wait until all is stopped, however often we are told to hurry: servers must not die before their worker."""
    while not run.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({run})


def _heed_cancellation() -> None:
    """Between steps: a driver may lose a cancellation that meets an answer."""
    current = asyncio.current_task()
    if current is not None and current.cancelling():
        raise asyncio.CancelledError


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
        changes = await apply_schema(database)
        console.print(
            f"schema applied to {options.names.database_prefix}_*: {counted(len(changes), 'change')}",
            highlight=False,
        )
        _heed_cancellation()
        # 2. worker
        async with _worker(stack, database, options, console) as worker:
            # 3. publish and watch
            sent = DemoInput.prepare(options)
            if sent.simulation is not None:
                await _open_platform(stack, database, sent.simulation)
            _heed_cancellation()
            before = await _before(stack, database, worker, options, sent)
            watch, seconds = await _publish_and_watch(stack, database, worker, options, sent, before, console)
            await _close_platform(stack, database, worker, sent, watch, console)
            _heed_cancellation()
            # 4. compare, verify, summarise
            summary = await _summarise(database, options, sent, before, watch, seconds)
            await _show(console, database, sent, summary)
            if options.json is not None:
                write_json(options.json, summary)
            agreed = summary.verified
            # 5. keep or stop
            if options.keep:
                await _keep(stack, database, worker, options, console)
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
        options = await settle_names(stack, options, console)
        await stack.create_topic(options.names.topic, options.partitions, options.kafka)
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
        yield open_database(client, options.names.database_prefix)
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
    }
    return {
        **worker_environment(stack, options),
        **({} if options.as_configured else own),
        "SEVENP_MONGODB_URI": stack.mongodb_uri,
        "SEVENP_KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "SEVENP_KAFKA_GROUP_ID": options.names.kafka_group_id,
        "SEVENP_DATABASE_PREFIX": options.names.database_prefix,
        "SEVENP_TOPIC": options.names.topic,
        "SEVENP_ROLES": ",".join(RoleName),
        "SEVENP_START_POLICY": "earliest",
    }


# ---- the run ----


async def _before(
    stack: Stack, database: Database, worker: WorkerProbe, options: DemoOptions, sent: DemoInput
) -> Before:
    ends = await topic_ends(stack.kafka_bootstrap_servers, options.names.topic, options.kafka)
    counts = await worker.wait_until_ready(options.names.topic, len(ends))
    known = await count_known(database, sent.event_ids())
    return Before(await count_totals(database), counts, ends, known)


async def _open_platform(stack: Stack, database: Database, simulation: Simulation) -> None:
    """What stands before the first event: the ledger, and most documents of courses and people."""
    write_ledger(stack.folder / "ledger.jsonl", simulation.ledger, simulation.totals)
    await write_platform(database, simulation.documents(Moment.BEFORE))


async def _close_platform(
    stack: Stack,
    database: Database,
    worker: WorkerProbe,
    sent: DemoInput,
    watch: RunWatch,
    console: Console,
) -> None:
    """Write the documents that come after the events; wait for their statistics, and for the outbox."""

    def require_alive() -> None:
        _heed_cancellation()
        worker.require_alive()
        stack.require_alive()

    late = sent.simulation.documents(Moment.AFTER) if sent.simulation else []
    await write_platform(database, late)
    if watch.counting and late:
        seconds = await until_statistics(database, late, CLOCK, require_alive)
        came = counted(len(late), "course and user document")
        console.print(f"{came} came late: statistics after {seconds:.1f} s", highlight=False)
    if watch.runs("notify") and (waiting := await until_sent(database, CLOCK, require_alive)):
        console.print(f"still to be sent: {counted(waiting, 'notification')}", highlight=False)


async def _publish_and_watch(
    stack: Stack,
    database: Database,
    worker: WorkerProbe,
    options: DemoOptions,
    sent: DemoInput,
    before: Before,
    console: Console,
) -> tuple[RunWatch, float]:
    """Publish while watching; the watch as it ended, and the seconds from first record to last document."""

    def require_alive() -> None:
        _heed_cancellation()
        worker.require_alive()
        stack.require_alive()
        if publishing.done():
            publishing.result()

    published = Published(sent.total)
    watch = RunWatch(database, worker, options.names.topic, before.counts, published, CLOCK, require_alive)
    publishing = asyncio.create_task(_publish(stack, options, sent, published))
    try:
        with make_display(console, published) as display:
            ended = await watch.until_drained(display)
    finally:
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
    return watch, ended - published.started_at


async def _publish(stack: Stack, options: DemoOptions, sent: DemoInput, published: Published) -> None:
    def progress(count: int) -> None:
        published.count = count

    # The embedded broker cannot drop repeats; of others nothing is known, so they are asked.
    idempotent = stack.broker is None or stack.broker.knows_idempotence
    async with Publisher(
        stack.kafka_bootstrap_servers,
        options.names.topic,
        clock=CLOCK,
        idempotent=idempotent,
        kafka=options.kafka,
    ) as publisher:
        published.started_at = CLOCK.monotonic()
        report = await publisher.publish(sent.records(), on_progress=progress)
        published.count = report.records
        published.done = True


async def _summarise(
    database: Database,
    options: DemoOptions,
    sent: DemoInput,
    before: Before,
    watch: RunWatch,
    seconds: float,
) -> Summary:
    ledger = sent.simulation.ledger if sent.simulation else ()
    documents = await progress_documents(database, [(entry.user_id, entry.course_id) for entry in ledger])
    return Summary(
        published=watch.published.count,
        unreadable=len(sent.unreadable),
        left_out=sent.statements.left_out.total(),
        before=before.totals,
        after=await count_totals(database),
        counts=watch.counts,
        dead_letter_reasons=await dead_letter_reasons(database, options.names.topic, before.ends),
        verification=await verify(database, quiescent=True),
        differences=compare(ledger, documents),
        counting=watch.counting,
        statistics=await _statistics(database, sent, watch),
        simulation=sent.simulation,
        known=before.known,
        seconds=seconds,
    )


async def _statistics(database: Database, sent: DemoInput, watch: RunWatch) -> list[Difference]:
    if sent.simulation is None or not watch.counting:
        return []
    return compare_statistics(sent.simulation, await read_shown(database, sent.simulation))


async def _show(console: Console, database: Database, sent: DemoInput, summary: Summary) -> None:
    for line in sent.unreadable[:10]:
        console.print(f"not published: {line}", markup=False)
    if left_out := str(sent.statements):
        console.print(left_out, markup=False)
    example = await example_of(database)
    if example is not None:
        print_learner(console, example)
        print_course(console, example)
    print_totals(console, summary)


async def _keep(
    stack: Stack, database: Database, worker: WorkerProbe, options: DemoOptions, console: Console
) -> None:
    """Leave all as it is until Ctrl-C or SIGTERM; meanwhile another demo can find a worker of ours."""
    if worker.process is not None:
        await leave_worker_url(database, stack.kafka_bootstrap_servers, worker.url)
    print_urls(console, stack, worker.url, options)
    await _until_interrupted(stack, worker)
    if worker.process is not None:
        await remove_worker_url(database)


async def _until_interrupted(stack: Stack, worker: WorkerProbe) -> None:
    """Raises StartFailed when a server or the worker ends meanwhile: nobody else would notice."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    while not stop.is_set():
        _heed_cancellation()
        worker.require_alive()
        stack.require_alive()
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_EVERY_S)


def _console() -> Console:
    """As wide as the terminal; wide enough for the tables where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=NO_TERMINAL_WIDTH)


def _without_credentials(uri: str) -> str:
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
