"""The one border where driver errors become the worker's own: the class says whether to retry.

Two driver errors are outcomes, not failures, and pass through untouched: `DuplicateKeyError` and a
`BulkWriteError` in which every failed write is final by its content (duplicate key, validation ...).
Messages carry the server's code and sentence, never the document or its values where the driver adds them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
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

from worker.errors import (
    Fatal,
    Fenced,
    HistoryLost,
    Misconfigured,
    Refused,
    Retryable,
    UnknownAnswer,
    WorkerError,
)
from worker.storage.server_codes import CodeClass, code_class, code_name

DUPLICATE_KEY = 11000
UNAUTHORIZED = 13
AUTHENTICATION_FAILED = 18
# A hosted cluster answers with one code of its own for whatever its proxy says: a quota that is used up is waited
# for, a login that is refused is not.
ATLAS_ERROR = 8000
ATLAS_BAD_LOGIN = "bad auth"

_TRANSIENT_LABELS = (
    "TransientTransactionError",
    "UnknownTransactionCommitResult",
    "RetryableWriteError",
    "ResumableChangeStreamError",
)
# The class of the worker's error for what an answer is about (see `server_codes`).
_ERRORS: Mapping[CodeClass | None, type[WorkerError]] = {
    CodeClass.PASSING: Retryable,
    CodeClass.SERVER: Retryable,
    None: UnknownAnswer,
    CodeClass.HISTORY: HistoryLost,
    CodeClass.CONTENT: Refused,
    CodeClass.DUPLICATE: Refused,
    CodeClass.SETUP: Misconfigured,
    CodeClass.COMMAND: Fatal,
    CodeClass.FENCED: Fenced,
}
# Of the writes of a bulk these are told one by one: the caller knows which document each concerns.
_FINAL = frozenset({CodeClass.CONTENT, CodeClass.DUPLICATE, CodeClass.COMMAND})


# The resolver's word for a name that does not exist, or has no servers.
_NO_SUCH_NAME = frozenset({"NXDOMAIN", "NoAnswer"})

# What the driver adds to a time-out: its own settings and its view of all servers, longer than what it has to say.
_DRIVERS_STATE = re.compile(r" \(configured timeouts: |, Timeout: [0-9.]+s, Topology Description: ")


# What the driver says of servers that take a connection and then give no answer, as one that is frozen does.
_NOBODY_YET = re.compile(r"^No (?:replica set members|servers) found yet$")
_SILENT = "no server answers, and none refuses: frozen, or out of reach"

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
    refused = sorted(error.details.get("writeErrors", []), key=lambda entry: entry["index"])
    return [
        WriteFailure(entry["index"], entry["code"], entry.get("keyPattern") or {}, entry.get("errmsg", ""))
        for entry in refused
    ]


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
        return (Retryable if _name_service_failed(error) else Misconfigured)(_sentence(error))
    if isinstance(error, BSONError):
        return Refused(f"a value cannot be stored as BSON ({type(error).__name__})")
    return Fatal(_sentence(error))


def _name_service_failed(error: ConfigurationError) -> bool:
    """True where `mongodb+srv` found no answer; False where the answer was that there is no such name.

    The driver calls both a wrong configuration, and keeps the resolver's error as the cause.
    """
    cause = error.__cause__
    resolver = type(cause).__module__.partition(".")[0] == "dns"
    return (resolver and type(cause).__name__ not in _NO_SUCH_NAME) or isinstance(cause, OSError)


def _bulk_translation(error: BulkWriteError) -> WorkerError | None:
    """A bulk is the caller's to read only when every failure is final and the rest reached a majority."""
    failures = write_failures(error)
    unacknowledged = error.details.get("writeConcernErrors", [])
    if unacknowledged:
        codes = ", ".join(sorted({str(entry.get("code")) for entry in unacknowledged}))
        return Retryable(f"written, but not acknowledged by a majority ({codes})")
    return failed_statements([(failure.code, failure.message) for failure in failures])


def failed_statements(failures: Sequence[tuple[int, str]]) -> WorkerError | None:
    """What the refusals of single writes, code and message of each, mean for all; None where each is final.

    One that is waited for decides over all others: what is sent again finds out about the rest.
    """
    others = [(code, message) for code, message in failures if code_class(code) not in _FINAL]
    if not others:
        return None
    kinds = {code_class(code) for code, _ in others}
    if CodeClass.FENCED in kinds:
        return Fenced("a newer owner writes on this session")
    waited = [each for each in others if issubclass(_ERRORS[code_class(each[0])], Retryable)]
    code, message = min(waited or others, key=lambda each: code_class(each[0]) is not None)
    return _by_code(code, f"{len(others)} writes: {code_name(code)} ({code}): {message[:300]}", False)


def _by_code(code: int | None, sentence: str, non_resumable: bool) -> WorkerError:
    kind = code_class(code)
    if code == ATLAS_ERROR and ATLAS_BAD_LOGIN in sentence:
        return Misconfigured(sentence)
    if non_resumable and kind is not CodeClass.PASSING:
        return HistoryLost(sentence)
    return _ERRORS[kind](sentence)


def _sentence(error: PyMongoError) -> str:
    """The server's own sentence, without the full reply the driver appends (it can hold payload)."""
    if isinstance(error, OperationFailure):
        reply = error.details or {}
        name = reply.get("codeName") or code_name(error.code)
        return f"{name} ({error.code}): {str(reply.get('errmsg', ''))[:300]}"
    said = _NOBODY_YET.sub(_SILENT, _DRIVERS_STATE.split(str(error), maxsplit=1)[0])
    return f"{type(error).__name__}: {said[:300]}"
