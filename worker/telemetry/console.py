"""Log lines for people: time, level, event, then the event's fields; everything that cannot be printed is escaped.

An entry begins at the margin and takes one line. What is our own and has several (frames, waiting tasks) stands
indented below it, so that nothing in a value can pass for another entry, or speak to the terminal.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from structlog.typing import EventDict, Processor, WrappedLogger

_RESET: Final = "\x1b[0m"
_BOLD: Final = "\x1b[1m"
_DIM: Final = "\x1b[2m"
_CYAN: Final = "\x1b[36m"
_LEVELS: Final = {
    "critical": "\x1b[1;31m",
    "error": "\x1b[1;31m",
    "warning": "\x1b[33m",
    "info": "\x1b[32m",
    "debug": _DIM,
}
_LEVEL_WIDTH: Final = len("critical")
# Most names of events are shorter: their fields begin below each other.
_EVENT_WIDTH: Final = 32
# Fields of our own that hold several lines: they stand below the entry's own line.
_BLOCKS: Final = ("tasks", "stack", "exception")
_MARGIN: Final = "    | "
# A text that needs no quotes to be told from what stands around it.
_PLAIN: Final = frozenset(" =\"'\\[]{},")

Opaque = Callable[[object], str]
"""What stands for a value that JSON cannot hold."""


def console_renderer(*, colours: bool, opaque: Opaque) -> Processor:
    """The last processor of a chain that has time, level, event and logger: an entry becomes text."""

    def paint(style: str, text: str) -> str:
        return f"{style}{text}{_RESET}" if colours and style and text else text

    def render(_logger: WrappedLogger, _method: str, entry: EventDict) -> str:
        moment, level = _moment(str(entry.pop("time", ""))), visible(str(entry.pop("level", "")))
        event, logger = visible(str(entry.pop("event", ""))), visible(str(entry.pop("logger", "")))
        blocks = [entry.pop(name) for name in _BLOCKS if name in entry]
        fields = [f"{paint(_CYAN, visible(name))}={_shown(value, opaque)}" for name, value in entry.items()]
        line = [
            paint(_DIM, moment),
            paint(_LEVELS.get(level, ""), f"{level:{_LEVEL_WIDTH}}"),
            paint(_BOLD, f"{event:{_EVENT_WIDTH}}"),
            *fields,
            paint(_DIM, f"({logger})" if logger else ""),
        ]
        return "\n".join([" ".join(line).rstrip(), *(f"{_MARGIN}{each}" for each in _lines(blocks))])

    return render


def visible(text: str) -> str:
    """The text in one line, with everything that cannot be printed as its escape."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def _moment(iso: str) -> str:
    """`2026-11-29 03:00:12.345Z` of a time in UTC with microseconds: as exact as what MongoDB and Kafka keep."""
    return visible(f"{iso[:10]} {iso[11:23]}Z" if len(iso) == len("2026-11-29T03:00:12.345678Z") else iso)


def _shown(value: Any, opaque: Opaque) -> str:
    """As it is where that is unmistakable, else as JSON; never more than one line."""
    if not isinstance(value, str):
        return visible(json.dumps(value, default=opaque, ensure_ascii=False))
    if value and value.isprintable() and _PLAIN.isdisjoint(value):
        return value
    return visible(json.dumps(value, ensure_ascii=False))


def _lines(blocks: list[Any]) -> Iterator[str]:
    """Every line of the blocks, each made safe by itself; a list is one text after the other."""
    for block in blocks:
        for text in block if isinstance(block, list | tuple) else (block,):
            yield from map(visible, str(text).split("\n"))
