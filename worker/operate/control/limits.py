"""What can be set at run time: a limit on what a role does in a second, or how much is logged."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_PREFIX = "set."
_MOST_PER_S = 1_000_000
_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Knob:
    """One setting that is read while the worker runs; `check` returns the value it means, or raises ValueError."""

    name: str
    takes: str
    meaning: str
    check: Callable[[Any], Any]

    @property
    def key(self) -> str:
        """Its name in `system_settings`, without the prefix of all our keys."""
        return _PREFIX + self.name


def _per_second(value: Any) -> float:
    """A number a second, as a number or as somebody typed it."""
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 1 <= number <= _MOST_PER_S:
        raise ValueError(f"it must be a number from 1 to {_MOST_PER_S:,}")
    return float(number)


def _level(value: Any) -> str:
    if not isinstance(value, str) or value.lower() not in _LEVELS:
        raise ValueError(f"it must be one of {', '.join(_LEVELS)}")
    return value.lower()


def _limit(name: str, meaning: str) -> Knob:
    return Knob(name, f"1 to {_MOST_PER_S:,}", meaning, _per_second)


LOG_LEVEL = Knob("log_level", ", ".join(_LEVELS), "From which level on a process logs.", _level)
KNOBS: tuple[Knob, ...] = (
    LOG_LEVEL,
    _limit("ingest_per_s", "Records that a worker reads in a second."),
    _limit("progress_per_s", "Documents that a worker brings up to date in a second: the fold's own."),
    _limit("counts_per_s", "Documents that the worker that counts takes in a second, read models included."),
    _limit(
        "notify_per_s", "Notifications that a worker takes out of the outbox in a second, of each channel."
    ),
    _limit("retry_per_s", "Attempts at queue items in a second, of all workers together."),
)
RATES = frozenset(each.name for each in KNOBS if each is not LOG_LEVEL)


def is_setting(key: str) -> bool:
    """Whether a key is one of something set."""
    return key.startswith(_PREFIX)


def knob_of(key: str) -> Knob:
    """What a key, or an operator, names. ValueError, in words, where there is no such thing."""
    name = key.removeprefix(_PREFIX)
    for each in KNOBS:
        if each.name == name:
            return each
    raise ValueError(f"there is no setting '{name}': there is {', '.join(each.name for each in KNOBS)}")
