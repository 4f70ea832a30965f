"""The first run: nobody is killed on purpose, and every write of two runs is written down."""

import asyncio
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.history import History, NotProven
from tests.chaos.launcher import TRACE_VARIABLE
from tests.chaos.stages import missing, stage_of
from tests.chaos.trace import Write, read_trace
from tests.support.waiting import until
from worker.devstack.servers.process import ServerProcess

# Renewals, tokens and measurements come every few seconds: a run of so many batches has seen all of them.
_LEAST_BATCHES = 10
# On empty databases there is nobody to take a partition from.
_NOT_AT_FIRST = frozenset({"assignment: burn", "assignment: lease"})


@dataclass(frozen=True, slots=True)
class Traces:
    """Writes of a first run on empty databases, and of one after a crash; `stopped_at` is when that was to stop."""

    first: Sequence[Write]
    second: Sequence[Write]
    stopped_at: float


async def traced(history: History) -> Traces:
    """Let a worker live, kill it, let another live, and stop that one in good order.

    Raises NotProven when a stage wrote nothing in the second run, or when that did not end well.
    """
    first, second = (history.world.folder / f"trace-{number}.jsonl" for number in (1, 2))
    process = await _run_until_traced(history, first, excused=_NOT_AT_FIRST)
    process.popen.kill()
    await asyncio.to_thread(process.stop)
    await history.note_doubt()
    process = await _run_until_traced(history, second)
    stopped_at = time.time()
    await asyncio.to_thread(process.stop)
    if process.returncode != 0:
        raise NotProven(f"the worker ended with {process.returncode}")
    return Traces(read_trace(first), read_trace(second), stopped_at)


async def _run_until_traced(history: History, file: Path, excused: Set[str] = frozenset()) -> ServerProcess:
    """Start a worker and return it once every stage has written, and often."""
    process = history.target.start(settings={TRACE_VARIABLE: str(file)})

    def complete() -> bool:
        process.require_alive()
        history.workload.require_alive()
        trace = read_trace(file)
        batches = sum(stage_of(write) == "ingest: offsets" for write in trace)
        return batches >= _LEAST_BATCHES and not set(missing(trace)) - excused

    try:
        await until(complete, "every stage to write")
    except BaseException as error:
        await asyncio.to_thread(process.stop)
        if isinstance(error, TimeoutError):
            raise NotProven(f"no write of {', '.join(missing(read_trace(file)))}") from None
        raise
    return process
