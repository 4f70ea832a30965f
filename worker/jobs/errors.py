"""How a run ends other than by its own work: each says who did what, and what to do about it."""

from worker.errors import WorkerError


class Held(WorkerError):
    """Another process runs this job: the message says who, since when. Nothing was begun."""


class Cancelled(WorkerError):
    """Somebody cancelled the run: what it had done stays, and its place is kept."""


class LeaseLost(WorkerError):
    """Another process has taken the run over: this one ends at once and writes nothing more.

    No `Fenced`: stages catch that of their own sessions, and must not catch this one.
    """


class Impossible(WorkerError):
    """What somebody asks of a run cannot be: there is no such run, or it is not at work. Nothing was changed."""


TAKEN_OVER = "another process has taken this run over, and goes on with it"
"""What a run says whose lease is lost."""
