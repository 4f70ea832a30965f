"""Breaks the worker on purpose and checks what is left: exit 0 if all invariants hold, 1 if not, 2 for a wrong call.

    python -m tests.chaos                    every crash point and one history of random faults
    python -m tests.chaos --seconds 1800     more: mongod at each point, lost replies, pairs, zombies, jobs, a soak
    python -m tests.chaos --only storm --seed 7

The same seed gives the same records, points and order of faults; at which instruction a signal arrives is the
machine's affair.
"""

import argparse
import asyncio
import logging
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.chaos.report import Report
from tests.chaos.runs import Run
from tests.chaos.storm import Storm
from worker.devstack.servers.apache.artifacts import fetch_jars, java_binary
from worker.devstack.servers.stack import KafkaKind
from worker.errors import Misconfigured

HOLDS, BROKEN = 0, 1
PARTS = ("points", "storm", "mongod", "replies", "pairs", "zombies", "jobs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, show, write; the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not set(options.only or ()) <= set(PARTS):
        parser.error(f"--only takes {', '.join(PARTS)}")
    # The clients' complaints of servers that are being killed are no news here.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    console = Console()
    report = Report(seed, _repeated(options, seed))
    console.print(f"seed {seed}: {report.command}", highlight=False)
    began = time.monotonic()

    def say(sentence: str) -> None:
        if not options.quiet:
            console.print(
                f"{time.monotonic() - began:6.1f} {sentence}", markup=False, highlight=False, soft_wrap=True
            )

    logs = Path(tempfile.gettempdir()) / f"sevenp-chaos-{seed}"
    run = Run(
        report,
        "embedded",
        logs,
        say,
        most=options.most,
        only_jobs=options.job or (),
        whole=bool(options.seconds),
    )
    try:
        asyncio.run(_all(run, options, began))
    finally:
        if options.json is not None:
            report.write(options.json)
    report.show(console)
    if not report.holds:
        console.print(f"logs: {logs}\nrepeat: {report.command}", highlight=False)
    return HOLDS if report.holds else BROKEN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("--seed", type=int, help="of records, points and faults (default: a new one, printed)")
    option("--seconds", type=float, help="the full run, and a soak until so many seconds are over")
    option("--only", action="append", metavar="PART", help=f"one of {', '.join(PARTS)}; may be repeated")
    option("--json", type=Path, metavar="FILE", help="write the report there")
    option(
        "--side-by-side",
        type=int,
        default=3,
        metavar="N",
        help="histories of crash points, and of jobs (default 3)",
    )
    option("--most", type=int, metavar="N", help="only so many crash points, for trying things out")
    option(
        "--job",
        action="append",
        metavar="WORDS",
        help="of the jobs only commands that begin so; may be repeated",
    )
    option("--quiet", action="store_true", help="only the table")
    storm = Storm()
    for name in ("workers", "mongods", "brokers", "zombies", "rebalances"):
        option(
            f"--{name}",
            type=int,
            default=getattr(storm, name),
            metavar="N",
            help=f"in a storm ({getattr(storm, name)})",
        )
    return parser


async def _all(run: Run, options: argparse.Namespace, began: float) -> None:
    """The parts that were asked for; crash points and the first storm side by side, since both mostly wait."""
    parts = options.only or (PARTS if options.seconds else PARTS[:2])
    if "storm" in parts:
        run.kafka = await _kafka(run.report)
    storm = Storm(options.workers, options.mongods, options.brokers, options.zombies, options.rebalances)
    seed = run.report.seed
    side_by_side = [run.trace()] if set(parts) - {"storm", "jobs", "zombies"} else []
    if "points" in parts:
        side_by_side.append(run.points(options.side_by_side))
    if "storm" in parts:
        side_by_side.append(run.storm(seed, storm))
    await asyncio.gather(*side_by_side)
    further = {"mongod": run.mongod_at_points, "replies": run.lost_replies, "pairs": run.pairs}
    await asyncio.gather(*(part() for name, part in further.items() if name in parts and run.plans))
    if "zombies" in parts:
        await run.zombies()
    if "jobs" in parts:
        await run.jobs(options.side_by_side)
    end = began + (options.seconds or 0)
    while options.seconds and "storm" in parts and time.monotonic() < end:
        seed += 1
        await run.storm(seed, storm, until_s=end)


async def _kafka(report: Report) -> KafkaKind:
    """A broker with files where one can be started; if not, the report says what that costs."""
    try:
        java_binary()
        await fetch_jars()
    except Misconfigured as reason:
        report.left_out.append(f"the broker is not killed: {reason}")
        return "embedded"
    return "apache"


def _repeated(options: argparse.Namespace, seed: int) -> str:
    """One command that does the same again."""
    words = ["python -m tests.chaos", f"--seed {seed}"]
    words += [f"--seconds {options.seconds:g}"] if options.seconds else []
    words += [f"--only {part}" for part in options.only or ()]
    words += [f"--most {options.most}"] if options.most is not None else []
    words += [f"--job '{command}'" for command in options.job or ()]
    return " ".join(words)


if __name__ == "__main__":
    sys.exit(main())
