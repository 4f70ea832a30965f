"""Passwords in a running Apache Kafka, changed by its own tool."""

import asyncio
import os
import subprocess

from worker.devstack.servers.apache.artifacts import java_binary
from worker.devstack.servers.apache.node import JVM_OPTIONS, LOG_OPTIONS, Node

LIMIT_S = 120.0


async def change_password(node: Node, servers: str, user: str, password: str) -> None:
    """Give `user` this password for SCRAM-SHA-256: one request changes one mechanism."""
    wanted = f"SCRAM-SHA-256=[password={password}]"
    tool = [
        java_binary(),
        *JVM_OPTIONS,
        *LOG_OPTIONS,
        "-cp",
        str(node.jars / "*"),
        "kafka.admin.ConfigCommand",
    ]
    change = ["--alter", "--entity-type", "users", "--entity-name", user, "--add-config", wanted]
    done = await asyncio.to_thread(
        subprocess.run,
        [*tool, "--bootstrap-server", servers, *change],
        check=False,
        capture_output=True,
        timeout=LIMIT_S,
        env={**os.environ, "LC_ALL": "C.UTF-8"},  # or Java takes other letters for question marks
    )
    assert done.returncode == 0, done.stderr.decode()
