"""`python -m worker run` as operators run it: a process of its own, its log, and its HTTP port."""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.commands import error_in
from tests.support.waiting import LIMIT_S, wait_until


def fetch(url: str) -> tuple[int, str]:
    """Status and body; status 0 while nothing listens."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


@dataclass
class WorkerProcess:
    """`python -m worker run`, with what it wrote to stderr."""

    popen: "subprocess.Popen[bytes]"
    log: Path

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines() if line.startswith("{")]

    def error(self) -> str:
        """What it says went wrong."""
        return error_in(self.log.read_text())

    def url(self) -> str:
        wait_until(lambda: self._listening() is not None or self.popen.poll() is not None, "worker listens")
        url = self._listening()
        assert url is not None, self.lines()
        return url

    def _listening(self) -> str | None:
        # The last line may be half written.
        lines = [line for line in self.lines() if line.endswith("}")]
        found = [json.loads(line) for line in lines if '"listening"' in line]
        return found[0]["url"] if found else None

    def wait_until_ready(self) -> str:
        url = self.url()
        wait_until(
            lambda: fetch(f"{url}/readyz")[0] == 200 or self.popen.poll() is not None, "worker is ready"
        )
        assert self.popen.poll() is None, self.lines()
        return url

    def exit_code(self) -> int:
        return self.popen.wait(LIMIT_S)


StartWorker = Callable[..., WorkerProcess]
