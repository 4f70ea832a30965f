"""What a finding of the doctor is: how it is looked for, how much it matters, what it means and what mends it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from worker.operate.doctor.setup import Server, Setup

NOWHERE: frozenset[Server] = frozenset()
MONGODB = frozenset({Server.MONGODB})
KAFKA = frozenset({Server.KAFKA})
BOTH = MONGODB | KAFKA


class Severity(StrEnum):
    """How much a finding matters, the worst first."""

    ERROR = "error"
    WARNING = "warning"
    ADVICE = "advice"


@dataclass(frozen=True, slots=True)
class Seen:
    """One case of a finding: what it is about, in words with figures, and what mends just this one, if it differs."""

    subject: str
    words: str
    fix: str | None = None


Look = Callable[[Setup], Awaitable[Sequence[Seen]]]
"""Reads, and returns every case it sees. A `WorkerError` means that it could not look."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that can be wrong with a set-up. `name` is that of its file; `means` and `fix` are whole sentences.

    `needs` are the servers that must answer before anybody can look; those that say who is away look then, too.
    """

    name: str
    severity: Severity
    needs: frozenset[Server]
    means: str
    fix: str
    look: Look
    when_away: bool = False
