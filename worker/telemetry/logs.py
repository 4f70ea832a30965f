"""Logs on stderr, from our own code and from libraries alike: JSON lines for machines, columns for people.

Nothing in a line can break out of it: JSON escapes control characters and all that is not ASCII, columns everything
that cannot be printed (see `console`). Nothing of a payload enters it: bytes are shown by their size, exceptions by
their frames without local variables, and the message only of those kinds of errors that never quote data.
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
from structlog.typing import EventDict, Processor, WrappedLogger

from worker.errors import WorkerError
from worker.settings.process import LogFormat
from worker.settings.standards import colours_allowed
from worker.telemetry.console import console_renderer
from worker.telemetry.library_lines import RightLevels, of_a_library
from worker.telemetry.repeats import FIELD as REPEATED
from worker.telemetry.repeats import Repeats

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
    # A collector of spans that is away is told of with each attempt.
    "opentelemetry": logging.ERROR,
}
# Of every line, in this order, whatever else it has: who reads raw JSON sees at once when, how bad, and what.
FIRST = ("time", "level", "event", "logger")

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def configure_logging(
    level: str = "info",
    stream: TextIO | None = None,
    *,
    libraries: str = "info",
    form: LogFormat = "auto",
) -> None:
    """Send all logging of this process to `stream` (stderr). May be called again.

    By `auto` lines are columns on a terminal and JSON everywhere else. Libraries stay at `libraries` or above,
    whatever the level: what they log below info are payloads.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _known,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(allow=(REPEATED,)),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.ExceptionRenderer(_frames),
    ]
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    handler.addFilter(RightLevels())
    handler.addFilter(Repeats())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[of_a_library, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(target, form),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_log_level(level, libraries=libraries)
    logging.captureWarnings(capture=True)
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


def _renderers(stream: TextIO, form: LogFormat) -> list[Processor]:
    terminal = stream.isatty()
    if form == "console" or (form == "auto" and terminal):
        return [console_renderer(colours=terminal and colours_allowed(), opaque=_opaque)]
    return [_in_order, structlog.processors.JSONRenderer(serializer=_one_line)]


def _known(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    """Without the fields that have no value: the trace of an event that belongs to none, say."""
    return {name: value for name, value in entry.items() if value is not None}


def _in_order(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    return {name: entry.pop(name) for name in FIRST if name in entry} | dict(entry)


def set_log_level(level: str, *, libraries: str = "info") -> None:
    """Log from this level on, at once and in the whole process; libraries stay at theirs or above."""
    quiet = logging.getLevelNamesMapping()[libraries.upper()]
    threshold = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(threshold)
    for library, lowest in LOWEST_LEVELS.items():
        logging.getLogger(library).setLevel(max(threshold, quiet, lowest))
    logging.getLogger("py.warnings").setLevel(max(threshold, quiet))


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
