"""Runs everything for some minutes, breaks this and that, and draws each dashboard: `python -m tests.dashboards`.

    0 s  all is well: learners, records that are no events, a job that is paused, one stream that is stuck
   60 s  a partition is poisoned
  100 s  MongoDB stands still for half a minute
  150 s  the job goes on, somebody pauses a kind of notifications and a stream, and one of the two workers is stopped

The pictures go into docs/dashboards. Which panels are empty is said at the end.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dashboards.catalogue import ROOT
from tests.dashboards.answers import over_time
from tests.dashboards.run import Run, Servers, running
from tests.dashboards.traffic import PARTITIONS, poison
from tests.support.boards import dashboards, queries
from tests.support.waiting import until
from worker.devstack.servers.broker import start_broker
from worker.devstack.servers.mongod import Mongod, start_mongod
from worker.devstack.servers.topics import create_topic
from worker.storage import driver, job_requests
from worker.storage.database import make_client, open_database
from worker.storage.schema import apply_schema

PICTURES = ROOT / "docs" / "dashboards"
# The environment of the benchmark's peers has matplotlib.
_PYTHON = ROOT / "bench" / ".venv" / "bin" / "python"
_TOPIC = "interaction-events"
_POINTS = 300


def main() -> None:
    """Run, ask, draw."""
    parser = argparse.ArgumentParser(prog="python -m tests.dashboards", description=__doc__)
    parser.add_argument("--per-s", type=float, default=120.0, help="events a second")
    parser.add_argument("--pace", type=float, default=1.0, help="0.5: everything in half the time")
    parser.add_argument("--python", type=Path, default=_PYTHON, help="an interpreter that has matplotlib")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dashboards-") as name:
        folder = Path(name)
        empty = asyncio.run(_answers(folder, options.per_s, options.pace))
        PICTURES.mkdir(parents=True, exist_ok=True)
        for board in dashboards():
            picture = PICTURES / f"{board}.png"
            command = [
                str(options.python),
                "-m",
                "dashboards.picture",
                str(folder / f"{board}.json"),
                str(picture),
            ]
            subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603 - our own module
            sys.stdout.write(f"{picture.relative_to(ROOT)}\n")
    for board, panel in empty:
        sys.stdout.write(f"without data in this run: {board}: {panel}\n")


async def _answers(folder: Path, per_s: float, pace: float) -> list[tuple[str, str]]:
    """The run on servers of its own, and a file of answers for each dashboard; returns the panels without any."""
    mongod = await start_mongod(folder / "mongodb", parameters=["enableTestCommands=1"])
    broker = await start_broker(folder / "kafka")
    client = make_client(mongod.uri)
    try:
        database = open_database(client, "boards")
        await apply_schema(database)
        await create_topic(broker.bootstrap_servers, _TOPIC, PARTITIONS)
        servers = Servers(mongod.uri, broker.bootstrap_servers, _TOPIC, database, folder)
        async with running(servers, per_s=per_s) as run:
            await _story(run, mongod, pace)
            return await _write(run, folder)
    finally:
        await driver.close(client)
        broker.stop()
        mongod.stop()


async def _story(run: Run, mongod: Mongod, pace: float) -> None:
    """What happens, and when."""

    async def at(seconds: float) -> None:
        end = run.began_at + seconds * pace
        await until(lambda: time.time() >= end, f"{seconds:.0f} s have passed", 3_600.0)

    job = await run.start_and_pause_a_job()
    await at(60)
    await poison(run.servers.kafka, run.servers.topic)
    await at(100)
    os.kill(mongod.process.pid, signal.SIGSTOP)
    await at(130)
    os.kill(mongod.process.pid, signal.SIGCONT)
    await at(150)
    await job_requests.withdraw_pause(run.servers.database, job)
    await run.pause_by_hand()
    await at(170)
    await run.stop("worker-2")
    await at(210)


async def _write(run: Run, folder: Path) -> list[tuple[str, str]]:
    begin_s, end_s = run.began_at, time.time()
    step_s = max(1.0, (end_s - begin_s) / _POINTS)
    lines: dict[str, dict[str, list[dict[str, object]]]] = {}
    for asked in queries():
        found = await over_time(run.prometheus, asked, begin_s, end_s, step_s)
        drawn = lines.setdefault(asked.board, {}).setdefault(str(asked.panel_id), [])
        drawn += [{"name": each.name, "points": list(each.points)} for each in found]
    for board, dashboard in dashboards().items():
        content = {"dashboard": dashboard, "lines": lines[board], "begin": begin_s, "end": end_s}
        (folder / f"{board}.json").write_text(json.dumps(content), encoding="utf-8")
    panels = {(asked.board, asked.panel): str(asked.panel_id) for asked in queries()}
    return [(board, panel) for (board, panel), number in panels.items() if not lines[board][number]]


if __name__ == "__main__":
    main()
