"""The first run: nobody dies on purpose, and every write of two lives is written down."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.history import History, NotProven
from tests.chaos.launcher import TRACE_VARIABLE
from tests.chaos.stages import missing, stage_of
from tests.chaos.trace import Write, read_trace
from tests.chaos.victim import until

# Renewals, tokens and measurements come every few seconds: a life of so many batches has seen all of them.
_LEAST_BATCHES = 10
# On empty databases there is nobody to take a partition from.
_NOT_AT_FIRST = frozenset({"assignment: burn", "assignment: lease"})


@dataclass(frozen=True, slots=True)
class Traces:
    """Writes of a first life on empty databases, and of one after a crash; `stopped_at` is when that was to stop."""

    first: Sequence[Write]
    second: Sequence[Write]
    stopped_at: float


async def traced(history: History) -> Traces:
    """Let a worker live, kill it, let another live, and stop that one in good order.

    Raises NotProven when a stage wrote nothing in the second life, or when that did not end well.
    """
    files = [history.world.folder / f"trace-{number}.jsonl" for number in (1, 2)]
    for number, file in enumerate(files):
        process = history.victim.start(settings={TRACE_VARIABLE: str(file)})
        try:

            async def complete(file: Path = file) -> bool:
                process.require_alive()  # noqa: B023 - waited for within this turn
                history.feed.require_alive()
                trace = read_trace(file)
                lacking = set(missing(trace)) - (_NOT_AT_FIRST if number == 0 else set())  # noqa: B023
                batches = sum(stage_of(write) == "ingest: offsets" for write in trace)
                return batches >= _LEAST_BATCHES and not lacking

            try:
                await until(complete, "every stage to write")
            except TimeoutError:
                raise NotProven(f"no write of {', '.join(missing(read_trace(file)))}") from None
            stopped_at = time.time()
            if number == 0:
                process.popen.kill()
        finally:
            await asyncio.to_thread(process.stop)
    if process.returncode != 0:
        raise NotProven(f"the worker ended with {process.returncode}")
    return Traces(read_trace(files[0]), read_trace(files[1]), stopped_at)
