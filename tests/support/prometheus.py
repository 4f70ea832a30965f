"""A real Prometheus for tests and checks: its programs, of this machine or Debian's package, and a server.

    python -m tests.support.prometheus

prints the folder that holds `prometheus` and `promtool`.
"""

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from worker.devstack.servers.apache.artifacts import locked
from worker.devstack.servers.process import (
    POLL_S,
    ServerProcess,
    StartFailed,
    free_port,
    spawn,
    start_serving,
)
from worker.errors import Misconfigured

# It speaks plain HTTP; a client that loads certificates for it takes longer to make than its answer.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

PROGRAMS = ("prometheus", "promtool")
PACKAGE = "prometheus"
JOB = "sevenp-worker"
"""The name of the scrape configuration, as the alerts know it."""
_UNPACKED = Path("share", "sevenp-worker", "prometheus")
# 25 MB over somebody's slow line.
_FETCH_LIMIT_S = 600.0
_START_LIMIT_S = 60.0
_ADDRESS_IN_USE = "address already in use"


def binaries() -> Path:
    """The folder that holds the programs; they are fetched once for each environment where PATH has none.

    Debian's package is unpacked: nothing is installed, no service starts. Raises Misconfigured where neither can be.
    """
    found = [shutil.which(program) for program in PROGRAMS]
    if found[0] is not None and all(found):
        return Path(found[0]).parent
    folder = Path(sys.prefix, _UNPACKED)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_suffix(".lock")):
            if not folder.is_dir():
                _fetch(folder)
    return folder / "usr" / "bin"


def required() -> Path:
    """The same for a test: without the programs it is skipped, and says why. Where CI is set it fails instead."""
    try:
        return binaries()
    except Misconfigured as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def _fetch(folder: Path) -> None:
    """Unpack Debian's package beside `folder`, and give it that name when all is there."""
    apt, unpack = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if apt is None or unpack is None:
        raise Misconfigured(_how_to("this is no Debian, so they cannot be fetched"))
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        _download(apt, partial)
        [archive] = partial.glob("*.deb")
        _run([unpack, "--extract", str(archive), str(partial)], partial)
        archive.unlink()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _download(apt: str, folder: Path) -> None:
    """Where apt's lists are old or missing, they are brought up to date first; only root may do that."""
    download = [apt, "--quiet", "download", PACKAGE]
    try:
        _run(download, folder)
    except Misconfigured:
        _run([apt, "--quiet", "update"], folder)
        _run(download, folder)


def _run(command: Sequence[str], folder: Path) -> None:
    """Run a command in a folder. Raises Misconfigured with what it said last."""
    try:
        done = subprocess.run(  # noqa: S603 - found on PATH, arguments of our own
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=_FETCH_LIMIT_S
        )
    except subprocess.TimeoutExpired as error:
        raise Misconfigured(_how_to(f"{command[0]} had not ended after {_FETCH_LIMIT_S:.0f} s")) from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()[-500:]
        raise Misconfigured(_how_to(f"`{' '.join(command)}` ended with {done.returncode}: {said}"))


def _how_to(reason: str) -> str:
    return f"{' and '.join(PROGRAMS)} are not on PATH, and {reason}. Install Prometheus 2.42 or later"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of an instant query."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """Values of a range query: (Unix time, value)."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server, which scrapes and evaluates as often as it was told."""

    process: ServerProcess
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def query(self, expression: str) -> list[Sample]:
        """An instant vector, or a scalar without labels. Raises AssertionError for what Prometheus refuses."""
        data = await self._get("query", query=expression)
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(each["metric"], float(each["value"][1])) for each in data["result"]]

    async def query_range(self, expression: str, start_s: float, end_s: float, step_s: float) -> list[Series]:
        """The values from one Unix time to another."""
        data = await self._get("query_range", query=expression, start=start_s, end=end_s, step=step_s)
        return [
            Series(each["metric"], [(float(at), float(value)) for at, value in each["values"]])
            for each in data["result"]
        ]

    async def firing(self) -> list[Mapping[str, str]]:
        """The labels of every alert that fires, `alertname` among them."""
        alerts = (await self._get("alerts"))["alerts"]
        return [each["labels"] for each in alerts if each["state"] == "firing"]

    async def ready(self) -> bool:
        """Whether it answers queries."""
        async with httpx.AsyncClient(verify=_NO_TLS) as client:
            try:
                return (await client.get(f"{self.url}/-/ready")).status_code == httpx.codes.OK
            except httpx.HTTPError:
                return False

    def stop(self) -> None:
        """End it by its process id; blocks until it is gone."""
        self.process.stop()

    async def _get(self, what: str, **parameters: str | float) -> Any:
        async with httpx.AsyncClient(timeout=30.0, verify=_NO_TLS) as client:
            answer = (await client.get(f"{self.url}/api/v1/{what}", params=parameters)).json()
        assert answer["status"] == "success", answer
        return answer["data"]


async def start_prometheus(
    folder: Path, targets: Sequence[str], rules: Sequence[Path] = (), interval_s: float = 1.0
) -> Prometheus:
    """Start a server that scrapes these targets (`127.0.0.1:9464`) and evaluates these files of rules.

    Its data, log and configuration lie below `folder`. Raises StartFailed with the log's tail.
    """
    programs = await asyncio.to_thread(required)
    configuration = _configured(folder, targets, rules, interval_s)

    def start() -> Prometheus:
        port = free_port()
        command = [str(programs / "prometheus"), f"--config.file={configuration}"]
        command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
        return Prometheus(spawn("prometheus", command, folder / f"prometheus-{port}.log"), port)

    async def serves(prometheus: Prometheus) -> None:
        end = asyncio.get_running_loop().time() + _START_LIMIT_S
        while not await prometheus.ready():
            prometheus.process.require_alive()
            if asyncio.get_running_loop().time() > end:
                raise StartFailed(f"Prometheus is not ready; its log says:\n{prometheus.process.log_tail()}")
            await asyncio.sleep(POLL_S)

    return await start_serving(start, serves, lambda each: _ADDRESS_IN_USE in each.process.log_tail())


def _configured(folder: Path, targets: Sequence[str], rules: Sequence[Path], interval_s: float) -> Path:
    """The configuration in the folder; JSON strings are YAML strings, too."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "prometheus.yml"
    interval = f"{interval_s * 1000:.0f}ms"
    listed = ", ".join(f'"{target}"' for target in targets)
    files = ", ".join(f'"{rule.resolve()}"' for rule in rules)
    configuration.write_text(
        f"global: {{scrape_interval: {interval}, evaluation_interval: {interval}, scrape_timeout: {interval}}}\n"
        f"rule_files: [{files}]\n"
        f"scrape_configs: [{{job_name: {JOB}, static_configs: [{{targets: [{listed}]}}]}}]\n",
        encoding="utf-8",
    )
    return configuration


if __name__ == "__main__":
    try:
        print(binaries())  # noqa: T201 - that is what it is for
    except Misconfigured as error:
        sys.exit(str(error))
