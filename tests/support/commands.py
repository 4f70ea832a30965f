"""`sevenp-worker` as a process that ends by itself: what it printed, and how it ended."""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

# Generous: the machine may be busy with other tests.
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Ended:
    """Exit code, and stdout and stderr as they came."""

    code: int
    output: str

    @property
    def last_line(self) -> str:
        return self.output.splitlines()[-1]


async def sevenp_worker(environment: Mapping[str, str], *arguments: str, stdin: bytes | None = None) -> Ended:
    """Run one command with `environment` on top of ours; killed where it does not end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker", *arguments),
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(stdin), LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
    return Ended(await process.wait(), output.decode())
