"""Which class a driver's error becomes, for codes a test server does not produce on demand."""

from typing import Any

import pytest
from bson.errors import InvalidDocument
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    DuplicateKeyError,
    InvalidOperation,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WTimeoutError,
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
from worker.storage.errors import WriteFailure, translated, write_failures

TRANSIENT = [6, 7, 24, 43, 46, 50, 64, 89, 91, 112, 117, 134, 189, 202, 237, 251, 262, 9001]
TRANSIENT += [10107, 11600, 11602, 13435, 13436, 14031]


def _translation(error: Exception) -> WorkerError:
    with pytest.raises(WorkerError) as caught, translated():
        raise error
    assert caught.value.__cause__ is error
    return caught.value


def _failure(code: int, **details: Any) -> OperationFailure:
    return OperationFailure("message", code, {"code": code, "errmsg": "message", "ok": 0, **details})


def _bulk(*codes: int, concern: int | None = None) -> BulkWriteError:
    errors = [{"index": index, "code": code, "errmsg": "m"} for index, code in enumerate(codes)]
    concerns = [] if concern is None else [{"code": concern, "errmsg": "m"}]
    return BulkWriteError({"writeErrors": errors, "writeConcernErrors": concerns, "nInserted": 1})


@pytest.mark.parametrize("code", TRANSIENT)
def test_passing_codes_are_retryable(code: int) -> None:
    assert type(_translation(_failure(code))) is Retryable


@pytest.mark.parametrize(
    "error",
    [
        AutoReconnect("gone"),
        NetworkTimeout("slow"),
        NotPrimaryError("elections"),
        ServerSelectionTimeoutError("nobody"),
        WaitQueueTimeoutError("pool"),
        WTimeoutError("no majority", 64, {}),
    ],
)
def test_connection_failures_are_retryable(error: PyMongoError) -> None:
    assert type(_translation(error)) is Retryable


@pytest.mark.parametrize("label", ["TransientTransactionError", "RetryableWriteError"])
def test_labels_that_promise_success_later_win_over_the_code(label: str) -> None:
    assert type(_translation(_failure(2, errorLabels=[label]))) is Retryable


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (225, Fenced),
        (136, HistoryLost),
        (260, HistoryLost),
        (280, HistoryLost),
        (286, HistoryLost),
        (2, Refused),
        (121, Refused),
        (10334, Refused),
        (13, Misconfigured),
        (18, Misconfigured),
        (59, Fatal),
        (371, Retryable),
        (1, Retryable),
        (14031, Retryable),
        (999_999, UnknownAnswer),
    ],
)
def test_other_codes_have_their_class(code: int, expected: type[WorkerError]) -> None:
    assert type(_translation(_failure(code))) is expected


def test_a_change_stream_error_without_a_way_on_is_lost_history() -> None:
    assert type(_translation(_failure(4711, errorLabels=["NonResumableChangeStreamError"]))) is HistoryLost


def test_wrong_options_are_a_misconfiguration() -> None:
    assert type(_translation(ConfigurationError("unknown option"))) is Misconfigured


def test_misuse_of_the_driver_is_fatal() -> None:
    assert type(_translation(InvalidOperation("closed"))) is Fatal


@pytest.mark.parametrize("error", [InvalidDocument("value 4111"), OverflowError("4111"), RecursionError()])
def test_what_cannot_be_encoded_is_refused_without_naming_the_value(error: Exception) -> None:
    refused = _translation(error)
    assert type(refused) is Refused
    assert "4111" not in str(refused)


def test_the_message_holds_the_sentence_and_not_the_reply() -> None:
    message = str(
        _translation(_failure(121, codeName="DocumentValidationFailure", errInfo={"value": "secret"}))
    )
    assert message == "DocumentValidationFailure (121): message"


def test_a_duplicate_key_passes_through() -> None:
    error = DuplicateKeyError("dup", 11000, {})
    with pytest.raises(DuplicateKeyError) as caught, translated():
        raise error
    assert caught.value is error


def test_a_bulk_of_final_failures_passes_through() -> None:
    error = _bulk(11000, 121)
    with pytest.raises(BulkWriteError) as caught, translated():
        raise error
    assert caught.value is error


def test_a_bulk_with_a_passing_failure_is_retryable() -> None:
    assert type(_translation(_bulk(11000, 189))) is Retryable


def test_a_bulk_no_majority_acknowledged_is_retryable_whatever_else_failed() -> None:
    assert type(_translation(_bulk(11000, concern=64))) is Retryable


@pytest.mark.parametrize(
    ("code", "expected"), [(371, Retryable), (999_999, UnknownAnswer), (13, Misconfigured)]
)
def test_a_bulk_in_which_the_server_speaks_of_itself_is_not_the_documents_fault(
    code: int, expected: type[WorkerError]
) -> None:
    told = _translation(_bulk(11000, 121, code))
    assert type(told) is expected
    assert str(code) in str(told)


def test_an_unknown_code_is_told_by_its_number() -> None:
    assert "999999" in str(_translation(_failure(999_999)))


def test_a_bulk_on_a_burned_session_is_fenced() -> None:
    assert type(_translation(_bulk(11000, 225))) is Fenced


def test_errors_of_our_own_pass_untouched() -> None:
    error = Retryable("already translated")
    with pytest.raises(Retryable) as caught, translated():
        raise error
    assert caught.value is error


def test_write_failures_come_in_the_order_of_what_was_sent() -> None:
    entries = [
        {"index": 4, "code": 11000, "keyPattern": {"stream_id": 1, "version": 1}, "errmsg": "dup"},
        {"index": 1, "code": 121, "errmsg": "invalid"},
    ]
    failures = write_failures(BulkWriteError({"writeErrors": entries}))
    assert failures == [
        WriteFailure(1, 121, {}, "invalid"),
        WriteFailure(4, 11000, {"stream_id": 1, "version": 1}, "dup"),
    ]
    assert [failure.duplicate for failure in failures] == [False, True]


def test_a_time_out_is_told_without_the_drivers_settings_and_its_view_of_all_servers() -> None:
    settings = "(configured timeouts: socketTimeoutMS: 5000.0ms), Timeout: 5.0s"
    said = f"db1:27017: timed out {settings}, Topology Description: <TopologyDescription id: 1>"
    assert str(_translation(ServerSelectionTimeoutError(said))) == (
        "ServerSelectionTimeoutError: db1:27017: timed out"
    )


def test_of_servers_that_take_a_connection_and_say_nothing_that_is_said() -> None:
    said = (
        "No replica set members found yet, Timeout: 5.0s, Topology Description: <TopologyDescription id: 1>"
    )
    assert str(_translation(ServerSelectionTimeoutError(said))) == (
        "ServerSelectionTimeoutError: no server answers, and none refuses: frozen, or out of reach"
    )


def test_a_time_out_for_want_of_a_server_that_lets_us_in_is_a_misconfiguration() -> None:
    said = "Authentication failed., full error: {'ok': 0.0, 'code': 18, 'codeName': 'AuthenticationFailed'}"
    told = _translation(ServerSelectionTimeoutError(said))
    assert type(told) is Misconfigured
    assert str(told).startswith("AuthenticationFailed (18)")


def test_a_hosted_cluster_that_refuses_the_login_is_not_waited_for_but_its_quota_is() -> None:
    for message, kind in (
        ("bad auth : authentication failed", Misconfigured),
        ("you are over your quota", Retryable),
    ):
        with pytest.raises(kind), translated():
            raise OperationFailure(message, 8000, {"code": 8000, "codeName": "AtlasError", "errmsg": message})
