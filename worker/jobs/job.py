"""What a job is: a name, what it can be asked to do, and a function that does it step by step."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, JsonValue

from worker.jobs.context import JobContext

_KEY_LETTERS = 10


class JobArguments(BaseModel):
    """What a run is asked to do. It is kept in `job_runs` and in the audit: nothing secret, nothing personal.

    A run that is started with equal arguments goes on where one that ended in its middle came to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @property
    def selection(self) -> Mapping[str, JsonValue]:
        """What of the data it is limited to, for whoever looks at the run; everything, unless a job says more."""
        return {}


class NoArguments(JobArguments):
    """Of a job that is always asked to do the same."""


A = TypeVar("A", bound=JobArguments)
Outcome = Mapping[str, JsonValue]


def _agrees(_outcome: Outcome) -> bool:
    return False


@dataclass(frozen=True)
class Job(Generic[A]):
    """One job. `run` may be killed before or after each of its writes, and is then called again with its checkpoint.

    A job that `changes` something is audited, and nothing of the same `lock`, which is its name unless it says
    otherwise, runs beside it. One that only looks, and every dry run, may run beside all others. `differs` says of an
    outcome that something was found to be wrong: the command ends with 1 then. One that `has_dry_run` writes nothing
    where its context says so; the others are never asked to.
    """

    name: str
    arguments: type[A]
    run: Callable[[JobContext, A], Awaitable[Outcome | None]]
    changes: bool = True
    lock: Callable[[A], str] | None = None
    about: str = ""
    differs: Callable[[Outcome], bool] = _agrees
    has_dry_run: bool = True

    def alone(self, arguments: A, *, dry_run: bool) -> str | None:
        """What must not run twice at a time; None where nothing is changed."""
        if dry_run or not self.changes:
            return None
        return self.name if self.lock is None else self.lock(arguments)

    def key(self, arguments: A, interval: str | None, *, dry_run: bool) -> str:
        """What the runs have in common that are asked to do the same."""
        lock = self.alone(arguments, dry_run=dry_run)
        asked = [arguments.model_dump(mode="json"), interval, dry_run, lock]
        digest = hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return f"{self.name}-{digest[:_KEY_LETTERS]}"
