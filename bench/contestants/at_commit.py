"""A contestant as an earlier commit has it: what has changed since is seen on one machine, at one time."""

import asyncio
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.contestants.field import ROOT, Contestant, Start
from bench.contestants.task import Task
from worker.devstack.servers.process import StartFailed

_SHORT = 7


@contextmanager
def checkout(commit: str) -> Iterator[Path | None]:
    """A folder with the files of a commit, gone with the block; None where git does not give them here."""
    git = shutil.which("git")
    with tempfile.TemporaryDirectory(prefix="sevenp-bench-") as folder:
        tree = Path(folder) / commit[:_SHORT]
        files = b"" if git is None else _archive(git, commit)
        if not files:
            yield None
            return
        with tarfile.open(fileobj=io.BytesIO(files)) as archive:
            archive.extractall(tree, filter="data")
        yield tree


def at_commit(contestant: Contestant, tree: Path) -> Contestant:
    """The contestant with the code of such a folder, and what is installed here.

    Its databases get that code's schema, too. It is taken for one of before there were stamps, and before payments
    were events of their own.
    """

    async def start(folder: Path, task: Task) -> Start:
        now = await contestant.start(folder, task)
        # Without the second the module would be looked for in the folder that the benchmark was started in.
        environment = {**now.environment, "PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
        await _apply_schema(environment)
        return replace(now, environment=environment)

    return replace(contestant, name=f"{contestant.name}, {tree.name}", start=start, stamps=False, pays=False)


async def _apply_schema(environment: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "worker", "schema", "apply"]
    applying = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await applying.communicate()
    if applying.returncode:
        raise StartFailed(f"the schema of the earlier commit: {said.decode(errors='replace')}")


def _archive(git: str, commit: str) -> bytes:
    """Nothing where there is no repository, or no such commit in it."""
    done = subprocess.run([git, "archive", commit], cwd=ROOT, capture_output=True, check=False)  # noqa: S603 - our own
    return b"" if done.returncode else done.stdout
