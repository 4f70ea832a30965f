"""Every line that the worker can log, as its source says: name, level and fields, found without running anything."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "critical"}
PLACEHOLDER = "<name>"
"""Stands in an event's name for the projection, follower or role that says it."""
# Turns failures into lines under names that it is given: those are read where it is made.
_WAITS = ROOT / "worker" / "telemetry" / "waits.py"
_SO_FAR = ("waited_s", "failures")
LOGGER = "log = structlog.get_logger(__name__)"
"""How every module that logs makes its logger."""


@dataclass(frozen=True, slots=True)
class LogCall:
    """One line that the source logs. `where` is file and line."""

    where: str
    event: str
    level: str
    fields: tuple[str, ...]


class Opaque(ValueError):
    """A call whose event or fields cannot be read in the source; the message says where."""


@lru_cache(maxsize=1)
def log_calls() -> tuple[LogCall, ...]:
    """All of them, in `worker/` and `projections/`."""
    files = [path for folder in ("worker", "projections") for path in sorted((ROOT / folder).rglob("*.py"))]
    return tuple(call for path in files if path != _WAITS for call in calls_in(path))


def calls_in(path: Path) -> Iterator[LogCall]:
    """Those of one file: of its logger, which is called `log` in each that has one."""
    source = path.read_text(encoding="utf-8")
    if LOGGER not in source:
        return
    tree = ast.parse(source)
    bound = _bound(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        where = f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name}:{node.lineno}"
        match node.func:
            case ast.Attribute(receiver, method) if _is_log(receiver, bound):
                if method == "bind":
                    continue
                if method not in {*LEVELS, "exception"}:
                    raise Opaque(f"{where}: {method} has no level of its own")
                inline = _fields(where, receiver) if isinstance(receiver, ast.Call) else ()
                yield _logged(where, node, method, (*bound.get(ast.unparse(receiver), ()), *inline))
            case ast.Name("Wait"):
                yield from _wait(where, _event(where, node.args[2]), _fields(where, node))
            case ast.Name("Waits"):
                role = _event(where, node.args[2])
                for event in ("waits_for_mongodb", "waits_for_kafka", "waits"):
                    yield from _wait(where, f"{role}_{event}", ())


def _is_log(receiver: ast.expr, bound: dict[str, tuple[str, ...]]) -> bool:
    text = ast.unparse(receiver)
    return text in {"log", "self._log"} or text in bound or text.startswith("log.bind(")


def _bound(tree: ast.Module) -> dict[str, tuple[str, ...]]:
    """Loggers that have fields already, under the names they are kept in."""
    found = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign([target], ast.Call(ast.Attribute(ast.Name("log"), "bind")) as call):
                found[ast.unparse(target)] = _fields(str(node.lineno), call)
    return found


def _logged(where: str, node: ast.Call, method: str, bound: tuple[str, ...]) -> LogCall:
    if len(node.args) != 1:
        raise Opaque(f"{where}: an event has a name and fields, no arguments")
    fields = (*bound, *_fields(where, node))
    if method == "exception" or "exc_info" in fields:
        fields = (*(name for name in fields if name != "exc_info"), "exception")
    level = "error" if method == "exception" else method
    return LogCall(where, _event(where, node.args[0]), level, fields)


def _wait(where: str, event: str, fields: tuple[str, ...]) -> Iterator[LogCall]:
    yield LogCall(where, event, "warning", (*fields, "reason", *_SO_FAR))
    yield LogCall(where, f"{event}_over", "info", (*fields, *_SO_FAR))


def _event(where: str, argument: ast.expr) -> str:
    """The name as it is written; what is put into it must be somebody's name, which other tests keep in order."""
    match argument:
        case ast.Constant(str(text)):
            return text
        case ast.JoinedStr(parts):
            return "".join(_part(where, part) for part in parts)
    raise Opaque(f"{where}: the event is {ast.unparse(argument)}, which nobody can look for")


def _part(where: str, part: ast.expr) -> str:
    match part:
        case ast.Constant(str(text)):
            return text
        case ast.FormattedValue(value) if ast.unparse(value) in {
            "self.name",
            "self._projection",
            "self._projection.name",
            "given.projection.name",
        }:
            return PLACEHOLDER
    raise Opaque(f"{where}: {ast.unparse(part)} is no name of a follower or projection")


def _fields(where: str, node: ast.Call) -> tuple[str, ...]:
    names = [keyword.arg for keyword in node.keywords]
    if None in names:
        raise Opaque(f"{where}: fields are written out, not handed on")
    return tuple(name for name in names if name is not None)
