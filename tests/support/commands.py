"""`sevenp-worker` as a process that ends by itself: what it printed, and how it ended."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import until
from tests.support.worker_pool import shared_pool

# Generous: the machine may be busy with other tests.
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Ended:
    """Exit code, and stdout and stderr as they came."""

    code: int
    output: str

    @property
    def error(self) -> str:
        """What it says went wrong."""
        return error_in(self.output)


def error_in(output: str) -> str:
    """The line that says what went wrong. Others may follow: tasks that were left behind, for one."""
    errors = [line for line in output.splitlines() if line.startswith("sevenp-worker: error: ")]
    assert len(errors) == 1, output
    return errors[0]


async def sevenp_worker(environment: Mapping[str, str], *arguments: str) -> Ended:
    """Run one command with `environment` on top of ours; killed where it does not end."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "output"
        process = shared_pool().start("sevenp-worker", log, environment, arguments)
        try:
            await until(lambda: process.returncode is not None, f"{arguments} ends", LIMIT_S)
        finally:
            process.popen.kill()
        return Ended(process.popen.wait(), log.read_text())


async def piped_into(environment: Mapping[str, str], stdin: bytes, *arguments: str) -> Ended:
    """The same for a command that reads a pipe."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker", *arguments),
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(stdin), LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
    return Ended(await process.wait(), output.decode())
