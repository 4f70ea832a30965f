"""Logs as one JSON object per line on stderr, from our own code and from libraries alike.

Nothing in a line can break out of it: JSON escapes control characters and all that is not ASCII. Nothing of a
payload enters it: bytes are shown by their size, exceptions by their frames without local variables, and the
message only of those kinds of errors that never quote data.
"""

import json
import logging
import sys
import traceback
from types import TracebackType
from typing import Any, TextIO

import structlog
from aiokafka.errors import KafkaError
from pymongo.errors import ConnectionFailure

from worker.errors import WorkerError

# Errors whose message never quotes a document. A ValueError, a BSON or a write error may, so it is withheld.
_OPEN_MESSAGES = (WorkerError, OSError, KafkaError, ConnectionFailure)

# The lowest level at which each library may log.
LOWEST_LEVELS = {
    # At debug level these write commands, documents and records into their logs.
    **dict.fromkeys(("pymongo", "motor", "aiokafka", "asyncio"), logging.INFO),
    # Already at info these write addresses, which may hold a token, or of every client that leaves.
    **dict.fromkeys(("httpx", "httpcore", "waitress"), logging.WARNING),
    # Says of every request that it waits for a moment: whoever asks often enough fills the log.
    "waitress.queue": logging.ERROR,
}

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def configure_logging(level: str = "info", stream: TextIO | None = None, *, libraries: str = "info") -> None:
    """Send all logging of this process to `stream` (stderr) as JSON lines. May be called again.

    Libraries stay at `libraries` or above, whatever the level: what they log below info are payloads.
    """
    quiet = logging.getLevelNamesMapping()[libraries.upper()]
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(allow=()),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.ExceptionRenderer(_frames),
    ]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_one_line),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for library, lowest in LOWEST_LEVELS.items():
        logging.getLogger(library).setLevel(max(threshold, quiet, lowest))
    logging.captureWarnings(capture=True)
    logging.getLogger("py.warnings").setLevel(max(threshold, quiet))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _one_line(entry: Any, **_options: Any) -> str:
    return json.dumps(entry, default=_opaque, ensure_ascii=True)


def _opaque(value: object) -> str:
    return f"<{len(value)} bytes>" if isinstance(value, bytes | bytearray | memoryview) else str(value)


def describe(error: BaseException) -> str:
    """The chain of errors, oldest first: class, open message, and where it passed. No local variables."""
    return "\n".join(reversed([_one_error(step) for step in _chain(error)]))


def _frames(exc_info: _ExcInfo) -> str:
    return describe(exc_info[1])


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in chain:
        chain.append(step)
        step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)
    return chain


def _one_error(error: BaseException) -> str:
    message = str(error) if isinstance(error, _OPEN_MESSAGES) else "(message withheld: it may quote data)"
    head = f"{type(error).__module__}.{type(error).__qualname__}: {message}"
    frames = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    inner = [_one_error(part) for part in error.exceptions] if isinstance(error, BaseExceptionGroup) else []
    return "\n".join(part for part in (head, frames, *inner) if part)
