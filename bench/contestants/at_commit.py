"""A contestant as an earlier commit has it: what has changed since is seen on one machine, at one time."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.contestants.field import ROOT, Contestant, Start
from bench.contestants.task import Task
from worker.devstack.servers.process import StartFailed


@contextmanager
def checkout(commit: str) -> Iterator[Path | None]:
    """A work tree of the commit, removed with the block; None where this clone does not have the commit."""
    git = shutil.which("git")
    if git is None or _git(git, "cat-file", "-e", f"{commit}^{{commit}}").returncode:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="sevenp-bench-") as folder:
        tree = Path(folder) / commit
        _git(git, "worktree", "add", "--detach", str(tree), commit).check_returncode()
        try:
            yield tree
        finally:
            _git(git, "worktree", "remove", "--force", str(tree))


def at_commit(contestant: Contestant, tree: Path) -> Contestant:
    """The contestant with the code of a work tree, and what is installed here; its databases get the tree's schema.

    It is taken for one of before there were stamps, and before payments were events of their own.
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


def _git(git: str, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run([git, *arguments], cwd=ROOT, capture_output=True, check=False)  # noqa: S603 - arguments of our own
