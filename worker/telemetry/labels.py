"""The closed sets from which labels of metrics take their values, known before anything has happened.

A value that is added here is a series more for each metric that has the label.
"""

from enum import StrEnum


class Outcome(StrEnum):
    """What became of one consumed record; the outcomes of all records sum up to the records consumed."""

    STORED = "stored"
    REDELIVERED = "redelivered"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    DEAD_LETTERED = "dead_lettered"
    SKIPPED = "skipped"


class Stage(StrEnum):
    """The timed steps of one ingest batch, in their order."""

    DECODE = "decode"
    PLAN = "plan"
    EVENT_STORE = "event_store"
    TIME_SERIES = "time_series"
    COMMIT = "commit"


class DropReason(StrEnum):
    """Why a record has no outcome: consumed, and neither stored nor accounted for otherwise. Always a defect."""

    OVERFLOW = "overflow"
    UNEXPECTED = "unexpected"


class RebalanceKind(StrEnum):
    ASSIGNED = "assigned"
    REVOKED = "revoked"


class DrainCause(StrEnum):
    REVOKE = "revoke"
    SHUTDOWN = "shutdown"


class RestartReason(StrEnum):
    """Why a change stream was opened again."""

    RESUMABLE = "resumable"
    HISTORY_LOST = "history_lost"
    INVALIDATED = "invalidated"
    LEASE_LOST = "lease_lost"


class Mode(StrEnum):
    """Who folded an event into a projection."""

    LIVE = "live"
    RETRY = "retry"
    REPLAY = "replay"


class Applied(StrEnum):
    """What became of an event at a projection."""

    APPLIED = "applied"
    STALE = "stale"
    FAILED = "failed"


class RetryReason(StrEnum):
    """Why an operation on MongoDB is repeated."""

    NETWORK = "network"
    TIMEOUT = "timeout"
    NOT_PRIMARY = "not_primary"
    WRITE_CONFLICT = "write_conflict"
    OTHER = "other"


class NotificationOutcome(StrEnum):
    """What became of a claimed notification; a deferred one is tried again and counts again."""

    SENT = "sent"
    SUPPRESSED = "suppressed"
    FAILED = "failed"
    DEFERRED = "deferred"


class RetryOutcome(StrEnum):
    """What an attempt made of a queue item; all but the first and the last leave it to be tried again."""

    COMPLETED = "completed"
    FAILED = "failed"
    POSTPONED = "postponed"  # a dependency was away: the attempt does not count
    EXHAUSTED = "exhausted"  # failed, and it was the last attempt: waits for other code or an operator


class ErrorClass(StrEnum):
    """Why an attempt failed, as far as a closed set can tell; the item itself names the exception."""

    NONE = "none"
    ARITHMETIC = "ArithmeticError"
    ATTRIBUTE = "AttributeError"
    INDEX = "IndexError"
    KEY = "KeyError"
    TYPE = "TypeError"
    VALUE = "ValueError"
    REFUSED = "Refused"  # the store objects to the document
    INTERRUPTED = "Interrupted"  # the worker did not survive the attempt
    UNAVAILABLE = "unavailable"
    OTHER = "other"


class ScheduledOutcome(StrEnum):
    """How a run ended that the scheduler started."""

    SUCCEEDED = "succeeded"
    DIFFERENCE = "difference"  # done, and something was found to be wrong
    FAILED = "failed"
    CANCELLED = "cancelled"


class MisfireReason(StrEnum):
    """Why a firing of the schedule was dropped."""

    MISSED = "missed"  # nobody could start it in time
    OVERLAP = "overlap"  # the run before went on


# Who holds something bounded or fenced, who follows a change stream, what is projected.
COMPONENTS = ("ingest", "progress", "counts", "notify")
WATCHERS = ("progress", "counts")
# Who follows what read models are made from, where there are any.
MODELS = ("models",)
# The steps that make dead letters, and the states of what is tried again.
DEAD_LETTER_STEPS = ("ingest",)
# What a scrubber's findings are about.
DRIFT_PARTS = ("events", "time_series", "documents", "sums", "notifications", "billing", "other")
QUEUE_STATES = ("pending", "processing", "completed", "failed")
ROW_COLLECTIONS = ("notifications", "billing_transactions")
# Entries that run, and those that cannot.
ENTRY_STATES = ("running", "refused")
NOTIFICATION_KINDS = ("welcome", "completion")
# The commands the worker sends; the rest (hello, endSessions ...) share a label.
OTHER = "other"
OPERATIONS = (
    "aggregate",
    "count",
    "delete",
    "find",
    "findAndModify",
    "getMore",
    "insert",
    "update",
    "commitTransaction",
    OTHER,
)
# The roles, and the kinds of parts of their work that can be paused by themselves.
_ROLES = ("ingest", "progress", "counts", "notify", "retry")
PAUSABLE = (*_ROLES, "partition", "projection", "kind", "stream")
