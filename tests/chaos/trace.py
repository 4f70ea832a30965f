"""The writes of one run in their order, one JSON line each: what crash points are made from."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.chaos.fault_injector import append_line
from tests.chaos.shape import is_write, narrowest, shapes

# A rare command says what it is in its first occurrences; the rest would only make the file long.
_MOST_OF_A_KIND = 2_000


@dataclass(frozen=True, slots=True)
class Write:
    """One command that was sent, by what it does; `at` is the wall clock's time in seconds."""

    command: str
    target: str
    at: float


class Recorder:
    """Writes down each write of a process before it is sent; never asks for the end of one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: dict[tuple[str, str], int] = {}

    def begins(self, name: str, command: Mapping[str, Any]) -> bool:
        if is_write(name):
            for target in narrowest(shapes(name, command)):
                kind = (name, target)
                self._counts[kind] = self._counts.get(kind, 0) + 1
                if self._counts[kind] <= _MOST_OF_A_KIND:
                    append_line(self._path, asdict(Write(name, target, time.time())))
        return False

    def ended(self) -> None:
        """Nobody waits for it."""

    def handed_out(self, partition: str, next_offset: int) -> None:
        """What is read is no write."""


def read_trace(path: Path) -> Sequence[Write]:
    """What a recorder wrote so far; empty where it wrote nothing. A line that it is just writing is left out."""
    if not path.exists():
        return []
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return [Write(**json.loads(line)) for line in whole.splitlines()]
