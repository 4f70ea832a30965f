"""The last run of a history: nobody is killed any more, everything becomes quiescent, and then it is checked."""

import asyncio
from collections.abc import Mapping, Sequence

from tests.chaos.history import History, NotProven, final_metrics
from worker.devstack.servers.process import ServerProcess
from worker.devstack.servers.worker_process import WorkerProbe

# Above the worker's own deadline for draining.
_DRAIN_S = 40.0


async def run_to_quiescence(history: History) -> Sequence[str]:
    """A worker that finishes everything and ends in good order; what is wrong then."""
    process = history.target.start()
    url = f"http://127.0.0.1:{history.target.settings['SEVENP_HTTP_PORT']}"
    return await finish(history, {"last": WorkerProbe(url, process)})


async def finish(history: History, probes: Mapping[str, WorkerProbe]) -> Sequence[str]:
    """Let these workers become quiescent, end them in good order, and check.

    Raises NotProven if one does not end well.
    """
    workers = {name: probe.process for name, probe in probes.items() if probe.process is not None}
    try:
        await history.reach_quiescence(workers)
        metrics = {name: await final_metrics(probe) for name, probe in probes.items()}
    finally:
        await asyncio.gather(*(asyncio.to_thread(process.stop, _DRAIN_S) for process in workers.values()))
    _require_good_end(workers)
    return await history.check(metrics)


def _require_good_end(workers: Mapping[str, ServerProcess]) -> None:
    codes = {name: process.returncode for name, process in workers.items() if process.returncode != 0}
    if codes:
        raise NotProven(f"workers did not end in good order: {codes}")
