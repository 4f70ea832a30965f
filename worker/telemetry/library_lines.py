"""What libraries log, in the form of our own lines: an event in snake_case, their sentence beside it, a fair level.

A client that is sent away tries again by itself, and our own lines say what waits for it: to Kafka's client each
attempt is an error, to an operator none is.
"""

import logging
from typing import Final

from structlog.typing import EventDict, WrappedLogger

EVENT: Final = "library_says"
"""The event of every line that is not ours; `logger` says whose it is, `message` what it says."""

_RETRYING: Final = "aiokafka"
# What every member of a group hears of each time that it is shared out anew.
_USUAL: Final = (
    "Heartbeat failed for group %s because it is rebalancing",
    "Heartbeat failed for group %s: generation id is not",
)


class RightLevels(logging.Filter):
    """Lowers what Kafka's client calls worse than it is; frames of a defect stay an error.

    Lines of our own have a dictionary as their message and pass as they are.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if not isinstance(record.msg, str) or record.name.partition(".")[0] != _RETRYING or record.exc_info:
            return True
        level = logging.INFO if record.msg.startswith(_USUAL) else min(record.levelno, logging.WARNING)
        record.levelno, record.levelname = level, logging.getLevelName(level)
        return logging.getLogger(record.name).isEnabledFor(level)


def of_a_library(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    """The first processor of lines that are not ours."""
    return {**entry, "event": EVENT, "message": entry["event"]}
