"""Exit codes: what a script or an orchestrator may rely on."""

from enum import IntEnum

from worker.errors import Fatal, Misconfigured, Refused, Retryable, SchemaMismatch, TopicMissing, WorkerError
from worker.jobs.errors import Cancelled, Held, Impossible, LeaseLost


class ExitCode(IntEnum):
    """Every way a command ends. The comment is the documentation."""

    OK = 0  # done; `run`: told to stop, and drained
    DIFFERENCE = 1  # something is wrong: found by `verify`, `doctor`, `demo`, `status`, a check or a job
    USAGE = 2  # a wrong argument, setting or input file: repeating it cannot help
    SCHEMA = 3  # collections, indexes or the topic are missing or differ: the message says what creates them
    UNREACHABLE = 4  # MongoDB or Kafka did not answer: starting again may help
    ROLE_DIED = 5  # a role failed in a way that waiting cannot heal: the message says which and why
    DRAIN_OVERDUE = 6  # told to stop, but not drained in time: nothing is lost, some work is done again
    FAILED = 7  # any other reason the worker knows; the message names it
    HELD = 8  # another process runs this job: the message says who, and since when; nothing was begun
    CANCELLED = 9  # somebody cancelled the job's run: what it had done stays
    TAKEN_OVER = 10  # another process has taken the job's run over, and goes on with it
    DEFECT = 70  # a defect in the worker itself: please report the trace
    INTERRUPTED = 130  # Ctrl-C; of a job SIGTERM, too: the same command goes on where it came to


class Unreachable(Fatal):
    """A dependency did not answer in the time granted at start."""


class RoleDied(Fatal):
    """A role ended without being told to. The message has its name and why."""


class DrainOverdue(Fatal):
    """Roles did not finish in time after they were told to stop."""


# The first entry that fits decides.
_CODES: tuple[tuple[type[WorkerError], ExitCode], ...] = (
    (Misconfigured, ExitCode.USAGE),
    (Refused, ExitCode.USAGE),
    (SchemaMismatch, ExitCode.SCHEMA),
    (TopicMissing, ExitCode.SCHEMA),
    (Unreachable, ExitCode.UNREACHABLE),
    (Retryable, ExitCode.UNREACHABLE),
    (RoleDied, ExitCode.ROLE_DIED),
    (DrainOverdue, ExitCode.DRAIN_OVERDUE),
    (Impossible, ExitCode.USAGE),
    (Held, ExitCode.HELD),
    (Cancelled, ExitCode.CANCELLED),
    (LeaseLost, ExitCode.TAKEN_OVER),
)


def exit_code(error: WorkerError) -> ExitCode:
    """The code a command ends with when `error` reaches its outermost frame."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)
