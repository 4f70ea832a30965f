"""A disk of its own that is small enough to be filled."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size_mb: int) -> Iterator[Path]:
    """A file system in memory below `folder`; the test is skipped, and says so, where nobody may mount one."""
    disk = folder / "disk"
    disk.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    size = f"size={size_mb}m"
    done = subprocess.run(  # noqa: S603
        [mount, "-t", "tmpfs", "-o", size, "tmpfs", disk], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"this machine lets nobody mount a small disk: {done.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        subprocess.run([umount, "--lazy", disk], check=True)  # noqa: S603


def fill(disk: Path, left_mb: float) -> Path:
    """Lay a file on the disk that takes all but so many megabytes; the file, to be removed."""
    ballast = disk / "ballast"
    with ballast.open("ab") as file:
        free = shutil.disk_usage(disk).free - int(left_mb * 1_000_000)
        os.posix_fallocate(file.fileno(), file.tell(), free)
    return ballast
