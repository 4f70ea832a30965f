"""Logins that fail, and when an account is locked: a rule of constants, the same in every fold for ever."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

LOCK_AFTER: Final = 5
"""Failed logins in a row that lock an account. People mistype a few times; whoever guesses needs many times more."""
LOCK_FOR: Final = timedelta(minutes=15)
"""How long, from the latest of them: so few guesses find no password, and nobody has to be unlocked by hand."""
FAILURES_KEPT: Final = 100
"""So many failed logins are told apart, the latest: whoever is locked out gains nothing by more."""

Moment = dict[str, Any]


def after_login(failures: Sequence[Moment], login: Moment | None) -> list[Moment]:
    """The failed logins that a login does not undo: those after it, the latest so many, in their order."""
    standing = [each for each in failures if login is None or order_of(each) > order_of(login)]
    return sorted(standing, key=order_of)[-FAILURES_KEPT:]


def locked_until(failures: Sequence[Moment], before: int = 0) -> datetime | None:
    """Until when the account is locked by these, in their order, and so many `before`; None for not at all."""
    if not failures or before + len(failures) < LOCK_AFTER:
        return None
    latest: datetime = failures[-1]["at"]
    return latest + LOCK_FOR


def order_of(moment: Moment) -> tuple[datetime, bytes]:
    """By which moments are ordered."""
    return moment["at"], moment["id"].bytes
