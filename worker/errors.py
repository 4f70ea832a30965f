"""The worker's one error tree: the class says whether to retry and what the operator should do."""


class WorkerError(Exception):
    """Root of everything the worker raises on purpose."""


class Retryable(WorkerError):
    """A dependency is away, slow or busy: back off and repeat the same step; nothing is skipped."""


class UnknownAnswer(Retryable):
    """MongoDB answered with a code this release does not know: waited for, and the worker is not ready meanwhile."""


class Fenced(WorkerError):
    """A newer owner exists: drop what is in hand and start again from the durable position."""


class HistoryLost(WorkerError):
    """The change stream cannot be resumed: catch up from the event store, then open a new one."""


class Refused(WorkerError):
    """The server refuses this very document or request for its content: repeating it cannot help."""


class ListNotStored(WorkerError):
    """An event names a list of lessons that is not stored: put the list back, and repeat."""


class Fatal(WorkerError):
    """The process must stop; the message tells the operator what to change."""


class Misconfigured(Fatal):
    """A setting, or a combination of settings, cannot work."""


class SchemaMismatch(Fatal):
    """Collections or indexes differ from what this code needs: run `sevenp-worker schema apply`."""


class TopicMissing(Fatal):
    """A topic does not exist, and nobody else may create it: the message says how."""


class StoreBehind(Fatal):
    """MongoDB holds less than the consumer group has read: the message says what is missing and how it comes back."""


def without_values(error: Exception) -> str:
    """What was raised, without values that anybody has stored: only our own sentences are known to hold none."""
    name = type(error).__name__
    return f"{name} ({error})" if isinstance(error, WorkerError) else name
