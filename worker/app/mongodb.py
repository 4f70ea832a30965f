"""How MongoDB is spoken to: settings as the driver's options, and its refusals with the settings to look at."""

import re
from collections.abc import Mapping
from typing import Any

from pymongo.errors import OperationFailure, ServerSelectionTimeoutError

from worker.errors import Retryable, WorkerError
from worker.settings import variable
from worker.settings.certificates import context, not_accepted
from worker.settings.mongodb import MongoDBSettings
from worker.storage.errors import AUTHENTICATION_FAILED, NOT_LET_IN, UNAUTHORIZED

# The asynchronous driver keeps OpenSSL's sentence and drops the error it came with.
_NOT_ACCEPTED = re.compile(
    r"([^\s,]+): \[SSL: CERTIFICATE_VERIFY_FAILED\] certificate verify failed: (.*?) \(_ssl"
)

# Class names, error numbers and tuples are the driver's; what is left is for people.
_DRIVERS_WORDS = (
    (
        re.compile(r"^(?:AutoReconnect|NetworkTimeout|NotPrimaryError|\w+TimeoutError|ConnectionFailure): "),
        "",
    ),
    (re.compile(r"\[Errno -?\d+\] "), ""),
    (re.compile(r"Connect call failed \([^)]*\)"), "nobody listens there"),
)

_LOGIN = (
    f"{variable('mongodb_username')} and {variable('mongodb_password')}, "
    f"or at the user in {variable('mongodb_uri')}"
)
_HINTS: Mapping[int | None, str] = {
    UNAUTHORIZED: f"Does this user have the roles it needs? Was one given at all? Look at {_LOGIN}",
    AUTHENTICATION_FAILED: f"Look at {_LOGIN}, and at {variable('mongodb_auth_source')}",
}


def mongodb_options(mongodb: MongoDBSettings) -> dict[str, Any]:
    """What goes over the URI: user and TLS. Raises `Misconfigured` for a file that cannot be used."""
    options: dict[str, Any] = {}
    if mongodb.ca_file is not None:
        context("mongodb", mongodb.ca_file)
        options |= {"tls": True, "tlsCAFile": str(mongodb.ca_file)}
    if mongodb.username and mongodb.password is not None:
        options["username"] = mongodb.username
        options["password"] = mongodb.password.get_secret_value()
    if mongodb.auth_source:
        options["authSource"] = mongodb.auth_source
    return options


def with_setting_hint(error: WorkerError) -> WorkerError:
    """The error with the setting to look at, where MongoDB refused the user or we its certificate; else itself.

    A certificate that is not accepted becomes `Misconfigured`: waiting does not heal it. A connection that fails is
    told without the driver's class names.
    """
    if isinstance(error, Retryable) and (found := _NOT_ACCEPTED.search(str(error))):
        return not_accepted("mongodb", found[1], found[2])
    if isinstance(error, Retryable) and (plain := _plain(str(error))) != str(error):
        return Retryable(plain)
    if (hint := _HINTS.get(_server_code(error))) and hint not in str(error):  # not explained before
        return type(error)(f"{str(error).rstrip('.')}. {hint}")
    return error


def _plain(message: str) -> str:
    for pattern, words in _DRIVERS_WORDS:
        message = pattern.sub(words, message)
    return message


def _server_code(error: BaseException | None) -> int | None:
    """The code MongoDB answered with, however often its error was wrapped since."""
    while error is not None:
        if isinstance(error, OperationFailure):
            return error.code
        if isinstance(error, ServerSelectionTimeoutError) and NOT_LET_IN in str(error):
            return AUTHENTICATION_FAILED
        error = error.__cause__
    return None
