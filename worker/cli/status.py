"""`sevenp-worker status`: one screen about who works, what waits and what does not answer."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console

from worker import __version__
from worker.app.exits import ExitCode
from worker.app.status import Status, TopicLag, look
from worker.cli import help as text
from worker.cli.control import controls_as_json
from worker.cli.ending import run_to_end
from worker.cli.listing import age, duration, plain
from worker.cli.options import JsonFlag
from worker.cli.output import one_line
from worker.cli.tables import print_json, print_line_of_json, print_table
from worker.jobs.operate import Seen as SeenRun
from worker.kafka.consumer import client_id
from worker.operate.control.controls import Controls, Said, moment
from worker.operate.held_leases import HeldLeases, process_in
from worker.settings import Settings, load_settings
from worker.storage.job_models import JobRun
from worker.storage.workers import Seen as SeenWorker
from worker.words import counted

_NAMES = {"mongodb": "MongoDB", "kafka": "Kafka"}
# One screen, whatever there is: of more rows than this the others are counted.
_MOST_ROWS = 20

EPILOG = text.page(
    text.examples(
        "sevenp-worker status                    once",
        "sevenp-worker status --watch            again and again, until Ctrl-C",
        "sevenp-worker status --json             for scripts; with --watch an object a line",
    ),
    "It ends with 0 when all could be looked at and each role has a live worker, with 1 when a role has none,\n"
    "with 3 when the database prefix is nobody's, and with 4 when MongoDB or Kafka did not answer: what is known\n"
    "without it is shown all the same.",
    text.settings(*text.MONGODB, "topic", "kafka_group_id", *text.KAFKA),
    text.exit_codes(),
)


@run_to_end()
async def status(
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    every: Annotated[
        float, typer.Option(min=0.5, max=3_600, help="With --watch: seconds between two looks.")
    ] = 2.0,
    as_json: JsonFlag = False,
) -> ExitCode:
    """Show workers, leases, lag, depths, jobs, what is paused, the last checks, and what is away. Only reads."""
    settings = load_settings()
    console = Console(highlight=False)
    while True:
        found = await look(settings)
        if watch and console.is_terminal and not as_json:
            console.clear()
        if as_json:
            (print_line_of_json if watch else print_json)(status_as_json(found))
        else:
            _print(console, settings, found)
        if not watch:
            return found.code
        await asyncio.sleep(every)


def status_as_json(found: Status) -> Any:
    """Everything of it, as scripts read it."""
    return plain(
        {
            "at": found.at,
            "ok": found.code == ExitCode.OK,
            "dependencies": {
                name: {"up": reason is None, "reason": reason} for name, reason in found.dependencies.items()
            },
            "workers": None if found.workers is None else [_worker(each) for each in found.workers],
            "missing_roles": found.missing_roles,
            "paused": None if found.controls is None else controls_as_json(found.controls),
            "leases": None if found.leases is None else asdict(found.leases),
            "lag": None if found.lag is None else [asdict(each) for each in found.lag],
            "depths": None if found.depths is None else asdict(found.depths),
            "jobs": None if found.jobs is None else [_run(each) for each in found.jobs],
            "checks": None if found.checks is None else _checks(found.checks),
            "unknown": found.unknown,
        }
    )


def _worker(each: SeenWorker) -> Mapping[str, Any]:
    said = each.worker.model_dump(by_alias=True)
    return {**said, "lives": each.lives, "silent_s": round(each.silent.total_seconds(), 1)}


def _run(each: SeenRun) -> Mapping[str, Any]:
    run = each.run
    named = {"run": run.id, "job": run.job, "state": each.state, "who": run.who, "started_at": run.started_at}
    return {**named, "done": run.progress.done, "total": run.progress.total}


def _checks(checks: Mapping[str, JobRun | None]) -> Mapping[str, Any]:
    return {job: None if run is None else _check(run) for job, run in checks.items()}


def _check(run: JobRun) -> Mapping[str, Any]:
    outcome = run.outcome or {}
    return {"run": run.id, "ok": outcome.get("ok"), "finished_at": run.finished_at}


def _print(console: Console, settings: Settings, found: Status) -> None:
    """Section by section; one that nobody knows is a line with the reason."""
    prefix = settings.mongodb.database_prefix
    console.print(
        f"sevenp-worker {__version__}, {prefix}, {found.at.isoformat(timespec='seconds')}", markup=False
    )
    for name, reason in found.dependencies.items():
        words = "answers" if reason is None else f"does not answer: {one_line(reason)}"
        _say(console, f"{name} {words}", None if reason is None else "bold red")
    for role in found.missing_roles:
        _say(console, f"no live worker has the role {role}", "bold red")
    for name, rows, columns, empty in _sections(found):
        if name in found.unknown:
            _say(console, f"{name}: not known ({one_line(found.unknown[name])})", "yellow")
        else:
            print_table(rows, columns, empty=empty, most=_MOST_ROWS)
    _say(console, verdict(found), "bold green" if found.code == ExitCode.OK else "bold red")


def verdict(found: Status) -> str:
    """All of it in a sentence, where a terminal ends: what stands above may be out of sight."""
    away = [_NAMES[name] for name, reason in found.dependencies.items() if reason is not None]
    said = [f"{' and '.join(away)} {'do' if len(away) > 1 else 'does'} not answer"] if away else []
    if found.unknown and not away:
        said.append(f"Not everything could be looked at ({', '.join(found.unknown)})")
    if found.missing_roles:
        said.append(f"{'no' if said else 'No'} live worker has {', '.join(found.missing_roles)}")
    return f"{'; '.join(said) or 'MongoDB and Kafka answer, and each role has a live worker'}."


def _say(console: Console, words: str, style: str | None) -> None:
    console.print(words, style=style, markup=False, soft_wrap=True)


Section = tuple[str, Sequence[tuple[str, ...]], tuple[str, ...], str]


def _sections(found: Status) -> Iterator[Section]:
    leases = found.leases or HeldLeases()
    workers = [_worker_row(each, leases) for each in found.workers or ()]
    yield (
        "workers",
        workers,
        ("worker", "roles", "since", "version", "holds", "seen"),
        "No worker has said that it lives.",
    )
    yield "paused", list(_control_rows(found.controls)), _CONTROLS, "Nothing is paused."
    yield "leases", list(_lease_rows(leases)), ("lease", "held", "by", "detail"), "No leases."
    lag = [(each.topic, str(each.partitions), f"{each.records:,}", _unread(each)) for each in found.lag or ()]
    yield "lag", lag, ("topic", "partitions", "records behind", "detail"), ""
    yield "depths", list(_depth_rows(found)), ("what waits", "number", "oldest", "detail"), ""
    if found.lag is not None:
        yield "readers", list(_reader_rows(found)), ("topic", "read by", "partitions"), ""
    jobs = [_job_row(each) for each in found.jobs or ()]
    yield "jobs", jobs, ("run", "state", "done", "started", "by"), "No job is running."
    checks = [_check_row(job, run) for job, run in (found.checks or {}).items()]
    yield "checks", checks, ("last check", "when", "found"), ""


def _worker_row(each: SeenWorker, leases: HeldLeases) -> tuple[str, ...]:
    worker, process = each.worker, process_in(each.worker.id)
    release = worker.version if worker.revision == "unknown" else f"{worker.version} ({worker.revision[:12]})"
    seen = f"{int(each.silent.total_seconds())} s ago" + ("" if each.lives else ": gone without a word")
    return (
        process,
        ", ".join(worker.roles),
        _ago(worker.started_at),
        release,
        ", ".join(leases.of(process)),
        seen,
    )


_CONTROLS = ("paused or set", "value", "by", "since", "until", "detail")


def _control_rows(controls: Controls | None) -> Iterator[tuple[str, ...]]:
    """What operators have paused and set, and documents of ours that mean nothing."""
    for pause in controls.pauses if controls else ():
        yield str(pause.target), "paused", *_said(pause.said)
    for each in controls.settings if controls else ():
        yield each.name, str(each.value), *_said(each.said)
    for ignored in controls.ignored if controls else ():
        yield ignored.key, "ignored", "", "", "", ignored.reason
    if controls and (more := controls.ignored_in_all - len(controls.ignored)):
        yield f"{more:,} more", "ignored", "", "", "", "like those above"


def _said(said: Said) -> tuple[str, str, str, str]:
    return said.who or "", moment(said.since), moment(said.until), said.reason or ""


def _lease_rows(leases: HeldLeases) -> Iterator[tuple[str, ...]]:
    for group in leases.groups:
        held = f"{group.groups - group.nobodys} of {group.groups}"
        yield (
            group.watcher,
            held,
            ", ".join(sorted(group.held_by)),
            "nobody holds the rest" if group.nobodys else "",
        )
    for job in leases.jobs:
        yield f"job {job.lock}", "1 of 1", job.who, job.run
    for topic in leases.partitions:
        missing = f"{counted(topic.missing, 'record')} missing: reingest" if topic.missing else ""
        yield f"partitions of {topic.topic}", str(topic.partitions), "", missing


def _reader_rows(found: Status) -> Iterator[tuple[str, ...]]:
    """Which process reads which partitions, as far as Kafka tells; a member that is no worker by its own word."""
    processes = {
        client_id(each.worker.host, each.worker.pid): process_in(each.worker.id)
        for each in found.workers or ()
    }
    for each in found.lag or ():
        if each.read_by is None:
            yield each.topic, "not told by Kafka", ""
            continue
        for client, numbers in each.read_by.items():
            yield each.topic, processes.get(client, client), ranges(numbers)
        if each.read_by_nobody:
            yield each.topic, "nobody", ranges(each.read_by_nobody)


def ranges(numbers: Sequence[int]) -> str:
    """Numbers in their order, shortly: `0-3, 7`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][-1] == number - 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ", ".join("-".join(map(str, each)) for each in parts)


def _unread(lag: TopicLag) -> str:
    if not lag.partitions:
        return "not there: `topic apply` makes it"
    number = lag.unread_partitions
    return f"and everything in {counted(number, 'partition')} that nobody has read" if number else ""


def _depth_rows(found: Status) -> Iterator[tuple[str, ...]]:
    depths = found.depths
    if depths is None:
        return
    states = ", ".join(f"{number:,} {state}" for state, number in depths.items.items() if number)
    waiting = sum(number for state, number in depths.items.items() if state != "completed")
    blocked = (
        f"{states}; {counted(depths.blocked_streams, 'stream')} blocked: queue list --group"
        if waiting
        else ""
    )
    yield "retry queue", f"{waiting:,}", _for(depths.oldest_item_s), blocked
    letters, oldest = (
        sum(depths.dead_letters.values()),
        max(depths.oldest_dead_letter_s.values(), default=0.0),
    )
    yield "dead letters", f"{letters:,}", _for(oldest), "dead-letters list --group" if letters else ""
    yield "outbox", f"{depths.unsent:,}", _for(depths.oldest_unsent_s), ""
    if depths.lost:  # nothing has failed, and nobody has to do anything
        yield "lost contests", f"{depths.lost:,}", "", "a slug, name or edge that another has: queue list"


def _job_row(each: SeenRun) -> tuple[str, ...]:
    steps = each.run.progress
    done = f"{steps.done:,}" if steps.total is None else f"{steps.done:,} of {steps.total:,}"
    return each.run.id, each.state, done, _ago(each.run.started_at), each.run.who


def _check_row(job: str, run: JobRun | None) -> tuple[str, ...]:
    if run is None:
        return job, "never", ""
    told = "nothing" if (run.outcome or {}).get("ok") else f"something is wrong: jobs show {run.id}"
    return job, "" if run.finished_at is None else _ago(run.finished_at), told


def _for(seconds: float) -> str:
    return duration(seconds) if seconds else ""


def _ago(at: datetime) -> str:
    return f"{age(at)} ago"
