"""The field of contestants: what each does, how it is started, and what it leaves behind when it is done."""

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from bench.contestants.connect import ASSIGNED, connect_command
from bench.contestants.task import FETCHING, Task
from worker.devstack.servers.process import free_port

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "bench" / ".venv" / "bin" / "python"

# What events go through, in this order: the event store, the time series, the learners' records, what counts them,
# and the outbox.
Stage = Literal["events", "rows", "records", "counts", "outbox"]
BOTH: Sequence[Stage] = ("events", "rows")


@dataclass(frozen=True, slots=True)
class Start:
    """A process to start: its command, and what it finds in its environment besides ours."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Contestant:
    """One row of the table. `work` is what it does and does not do, in words; `stages` are those it is done with.

    `begins` is the mark in its output from which time is counted. `unvalidated` names the collections whose validator
    refuses its documents: it is taken off for it. `plain` is true where it cannot write a time series.
    `counted` is where a learner's record says how many events it holds. `pays`: payments that enrolments name become
    events of their own. `needs` names what this machine must have. `stamps`: events say what their course is.
    """

    name: str
    work: str
    start: Callable[[Path, Task], Awaitable[Start]]
    stages: Sequence[Stage] = BOTH
    begins: str = FETCHING
    unvalidated: Sequence[str] = ()
    plain: bool = False
    counted: str = "version"
    pays: bool = False
    needs: Sequence[Literal["java", "peers"]] = ()
    stamps: bool = False


def _python(module: str, interpreter: str = sys.executable) -> Callable[[Path, Task], Awaitable[Start]]:
    async def start(_folder: Path, task: Task) -> Start:
        environment = {**task.environment(), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        return Start([interpreter, "-m", f"bench.contestants.{module}"], environment)

    return start


# The records are of a fixed day: as old news nothing would be sent, and the outbox would cost nothing.
SENDS_OLD_NEWS = {"SEVENP_NOTIFY_WITHIN_HOURS": str(24 * 366 * 100)}


def worker_with(roles: str, module: str = "ours") -> Callable[[Path, Task], Awaitable[Start]]:
    async def start(folder: Path, task: Task) -> Start:
        plain = await _python(module)(folder, task)
        settings = {
            **SENDS_OLD_NEWS,
            "SEVENP_ROLES": roles,
            "SEVENP_MONGODB_URI": task.mongodb_uri,
            "SEVENP_DATABASE_PREFIX": task.content.removesuffix("_content"),
            "SEVENP_KAFKA_BOOTSTRAP_SERVERS": task.bootstrap_servers,
            "SEVENP_KAFKA_GROUP_ID": task.group,
            "SEVENP_TOPIC": task.topic,
            "SEVENP_HTTP_PORT": str(free_port()),
        }
        return Start(plain.command, {**plain.environment, **settings})

    return start


def _connect(*, both: bool, poll: int) -> Callable[[Path, Task], Awaitable[Start]]:
    async def start(folder: Path, task: Task) -> Start:
        return Start(await connect_command(folder, task, both=both, poll=poll))

    return start


def limit(documents: Path, batch: int, connections: int, order: str) -> Contestant:
    """One way to insert the final documents."""

    async def start(folder: Path, task: Task) -> Start:
        plain = await _python("limit")(folder, task)
        options = ["--batch", str(batch), "--connections", str(connections), "--order", order]
        return Start([*plain.command, str(documents), *options], plain.environment)

    work = f"final documents only: batches of {batch:,}, {connections} a collection, by {order}"
    return Contestant("limit", work, start)


def with_environment(contestant: Contestant, further: Mapping[str, str]) -> Contestant:
    """The same contestant, with this in its environment, too."""

    async def start(folder: Path, task: Task) -> Start:
        plain = await contestant.start(folder, task)
        return Start(plain.command, {**plain.environment, **further})

    return replace(contestant, start=start)


ALL_ROLES = "ingest,progress,counts,notify,retry"
# A poll's records are one bulk write: 500, the default, was slower.
CONNECT_POLL = 2_000

INGEST = Contestant(
    "ours: ingest",
    "validation, dedup, versions, exactly once, both collections",
    worker_with("ingest"),
    pays=True,
    stamps=True,
)
EVERYTHING = Contestant(
    "ours: everything on",
    "the same, and every learner's record, counts and notifications, in one process",
    worker_with(ALL_ROLES),
    stages=("events", "rows", "records", "counts", "outbox"),
    pays=True,
    stamps=True,
)
# As both would be without stamps: what these cost is seen beside them.
INGEST_UNSTAMPED, EVERYTHING_UNSTAMPED = (
    replace(each, name=f"{each.name}, no stamps", start=worker_with(roles, "unstamped"), stamps=False)
    for each, roles in ((INGEST, "ingest"), (EVERYTHING, ALL_ROLES))
)
SPEC = Contestant(
    "the spec's own loop",
    "both collections, upserts of records, course counters; no guarantee of any kind",
    _python("spec_loop"),
    stages=("events", "rows", "records"),
    unvalidated=("user_progress",),
    counted="stats.update_count",
)
BARE = Contestant("bare loop", "both collections; no check at all", _python("bare"))
EQUAL = Contestant(
    "equal loop", "validation, dedup, versions, both collections; not crash-safe", _python("equal")
)
FASTSTREAM = Contestant(
    "FastStream",
    "batches of 500, both collections; no check at all",
    _python("faststream_batches", str(PEERS)),
    needs=("peers",),
)
QUIX = Contestant(
    "Quix Streams",
    "its MongoDB sink twice, two plain collections (its upserts are refused by a time series)",
    _python("quix", str(PEERS)),
    plain=True,
    needs=("peers",),
)
CONNECT = Contestant(
    "MongoDB connector, both",
    "two sinks side by side; documents as they come, rows without value and details",
    _connect(both=True, poll=CONNECT_POLL),
    begins=ASSIGNED,
    unvalidated=("course_events",),
    needs=("java",),
)
CONNECT_ROWS = Contestant(
    "MongoDB connector, rows",
    "one sink, time series only; rows without value and details",
    _connect(both=False, poll=CONNECT_POLL),
    stages=("rows",),
    begins=ASSIGNED,
    unvalidated=("course_events",),
    needs=("java",),
)

FIELD = (INGEST, BARE, EQUAL, FASTSTREAM, QUIX, CONNECT, CONNECT_ROWS)
