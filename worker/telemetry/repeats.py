"""What a library says again and again, word for word, is logged once a minute: an outage must not fill the log."""

import logging
from typing import Final

_AGAIN_AFTER_S: Final = 60.0
# As many are told apart; beyond that all are new again.
_MOST: Final = 1_000

FIELD: Final = "repeated"
"""How often a line that comes again was left out since the last time."""


class Repeats(logging.Filter):
    """Lets the first of equal lines of libraries pass, and then one a minute with the number of those between.

    Lines of our own have a dictionary as their message and pass: who writes them knows when to.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not isinstance(record.msg, str):
            return True
        try:
            key = (record.name, record.levelno, record.getMessage())
        except Exception:  # arguments that do not fit: whoever writes the line says so
            return True
        told_at, left_out = self._seen.get(key, (float("-inf"), 0))
        if record.created - told_at < _AGAIN_AFTER_S:
            self._seen[key] = (told_at, left_out + 1)
            return False
        if len(self._seen) >= _MOST:
            self._seen.clear()
        self._seen[key] = (record.created, 0)
        if left_out:
            setattr(record, FIELD, left_out)
        return True
