"""The one border where driver errors become the worker's own: the class says whether to retry.

Two driver errors are outcomes, not failures, and pass through untouched: `DuplicateKeyError` and a
`BulkWriteError` in which every failed write is final by its content (duplicate key, validation ...).
Messages carry the server's code and sentence, never the document or its values where the driver adds them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bson.errors import BSONError
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from worker.errors import Fatal, Fenced, HistoryLost, Misconfigured, Refused, Retryable, WorkerError

DUPLICATE_KEY = 11000
DOCUMENT_VALIDATION_FAILURE = 121
TRANSACTION_TOO_OLD = 225
AUTHENTICATION_FAILED = 18

# Network, elections, time-outs, conflicts between concurrent writers, a full disk: all pass by themselves or
# after an operator acted on the server, and the step may be repeated.
_TRANSIENT = frozenset(
    {
        6,  # HostUnreachable
        7,  # HostNotFound
        24,  # LockTimeout
        43,  # CursorNotFound
        46,  # LockBusy
        50,  # MaxTimeMSExpired
        63,  # StaleShardVersion
        64,  # WriteConcernFailed: not acknowledged by a majority in time
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        112,  # WriteConflict
        117,  # ConflictingOperationInProgress
        133,  # FailedToSatisfyReadPreference
        134,  # ReadConcernMajorityNotAvailableYet
        150,  # StaleEpoch
        175,  # QueryPlanKilled
        189,  # PrimarySteppedDown
        202,  # NetworkInterfaceExceededTimeLimit
        234,  # RetryChangeStream
        237,  # CursorKilled
        239,  # SnapshotTooOld
        246,  # SnapshotUnavailable
        251,  # NoSuchTransaction: the server ended it, the whole transaction may run again
        262,  # ExceededTimeLimit
        290,  # TransactionExceededLifetimeLimitSeconds
        9001,  # SocketException
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11601,  # Interrupted
        11602,  # InterruptedDueToReplStateChange
        13388,  # StaleConfig
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
        14031,  # OutOfDiskSpace
    }
)
_TRANSIENT_LABELS = (
    "TransientTransactionError",
    "UnknownTransactionCommitResult",
    "RetryableWriteError",
    "ResumableChangeStreamError",
)
# The point a change stream should resume from is gone, or was never one.
_HISTORY_LOST = frozenset(
    {
        136,  # CappedPositionLost
        260,  # InvalidResumeToken
        280,  # ChangeStreamFatalError
        286,  # ChangeStreamHistoryLost
        40647,  # the token is no token
        40649,  # the token is of an unknown kind
        50811,  # the token's bytes mean nothing
    }
)
# The server objects to the content of the document or request.
_REFUSED = frozenset(
    {
        2,  # BadValue
        14,  # TypeMismatch
        15,  # Overflow: nested too deep
        28,  # PathNotViable
        52,  # DollarPrefixedFieldName
        53,  # InvalidIdField
        54,  # NotSingleValueField
        55,  # InvalidDBRef
        56,  # EmptyFieldName
        57,  # DottedFieldName
        66,  # ImmutableField
        DOCUMENT_VALIDATION_FAILURE,
        10334,  # BSONObjectTooLarge
        16755,  # a value a geospatial index cannot take
        17280,  # KeyTooLong
        17419,  # the update would make the document too large
        17420,  # the update would make the document too large
    }
)
_MISCONFIGURED = frozenset(
    {
        13,  # Unauthorized
        AUTHENTICATION_FAILED,
        20,  # IllegalOperation: transactions or retryable writes without a replica set
        79,  # UnknownReplWriteConcern
        100,  # UnsatisfiableWriteConcern
    }
)


# What the driver adds to a time-out: its own settings and its view of all servers, longer than what it has to say.
_DRIVERS_STATE = re.compile(r" \(configured timeouts: |, Timeout: [0-9.]+s, Topology Description: ")


# Once a login was refused, the driver waits for another server and then quotes the refusal in its time-out.
NOT_LET_IN = "'codeName': 'AuthenticationFailed'"


@dataclass(frozen=True, slots=True)
class WriteFailure:
    """One refused write of a bulk, `index` being its place in what was sent.

    `key_pattern` is the unique index it met, empty for any other failure.
    """

    index: int
    code: int
    key_pattern: Mapping[str, Any]
    message: str

    @property
    def duplicate(self) -> bool:
        return self.code == DUPLICATE_KEY


def write_failures(error: BulkWriteError) -> list[WriteFailure]:
    """The refused writes of a bulk in the order they were sent; everything not named here was written."""
    failures = [
        WriteFailure(
            index=entry["index"],
            code=entry["code"],
            key_pattern=entry.get("keyPattern") or {},
            message=entry.get("errmsg", ""),
        )
        for entry in error.details.get("writeErrors", [])
    ]
    return sorted(failures, key=lambda failure: failure.index)


@contextmanager
def translated() -> Iterator[None]:
    """Raise driver errors from the block as `worker.errors`; see the module for the two that pass through.

    Wrap only driver calls: the encoding errors caught here (OverflowError, UnicodeEncodeError,
    RecursionError) would mean something else elsewhere.
    """
    try:
        yield
    except DuplicateKeyError:
        raise
    except PyMongoError as error:
        ours = _translation(error)
        if ours is None:
            raise
        raise ours from error
    except (BSONError, OverflowError, UnicodeEncodeError, RecursionError) as error:
        raise Refused(f"a value cannot be stored as BSON ({type(error).__name__})") from error


def _translation(error: PyMongoError) -> WorkerError | None:
    """The worker's error for a driver's, or None where the caller is to see the driver's own."""
    if isinstance(error, BulkWriteError):
        return _bulk_translation(error)
    if any(error.has_error_label(label) for label in _TRANSIENT_LABELS):
        return Retryable(_sentence(error))
    if isinstance(error, OperationFailure):
        return _by_code(error.code, _sentence(error), error.has_error_label("NonResumableChangeStreamError"))
    if isinstance(error, ServerSelectionTimeoutError) and NOT_LET_IN in str(error):
        return Misconfigured("AuthenticationFailed (18): no server lets this user in any more")
    if isinstance(error, ConnectionFailure):
        return Retryable(_sentence(error))
    if isinstance(error, ConfigurationError):
        return Misconfigured(_sentence(error))
    if isinstance(error, BSONError):
        return Refused(f"a value cannot be stored as BSON ({type(error).__name__})")
    return Fatal(_sentence(error))


def _bulk_translation(error: BulkWriteError) -> WorkerError | None:
    """A bulk is the caller's to read only when every failure is final and the rest reached a majority."""
    failures = write_failures(error)
    unacknowledged = error.details.get("writeConcernErrors", [])
    if unacknowledged:
        return Retryable(f"written, but not acknowledged by a majority ({_codes(unacknowledged)})")
    passing = [failure for failure in failures if failure.code in _TRANSIENT]
    if passing:
        return Retryable(
            f"{len(passing)} of the writes failed for a passing reason: {passing[0].message[:300]}"
        )
    if any(failure.code == TRANSACTION_TOO_OLD for failure in failures):
        return Fenced("a newer owner writes on this session")
    return None


def _by_code(code: int | None, sentence: str, non_resumable: bool) -> WorkerError:
    if code == TRANSACTION_TOO_OLD:
        return Fenced(sentence)
    if code in _TRANSIENT:
        return Retryable(sentence)
    if code in _HISTORY_LOST or non_resumable:
        return HistoryLost(sentence)
    if code in _REFUSED:
        return Refused(sentence)
    if code in _MISCONFIGURED:
        return Misconfigured(sentence)
    return Fatal(sentence)


def _sentence(error: PyMongoError) -> str:
    """The server's own sentence, without the full reply the driver appends (it can hold payload)."""
    if isinstance(error, OperationFailure):
        reply = error.details or {}
        name = reply.get("codeName") or type(error).__name__
        return f"{name} ({error.code}): {str(reply.get('errmsg', ''))[:300]}"
    said = _DRIVERS_STATE.split(str(error), maxsplit=1)[0]
    return f"{type(error).__name__}: {said[:300]}"


def _codes(entries: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(sorted({str(entry.get("code")) for entry in entries}))
