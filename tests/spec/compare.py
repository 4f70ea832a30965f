"""Whether a document has every field that the specification's sample of it has, with the value that stands there."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bson import ObjectId

SAMPLES: Mapping[str, list[Any]] = json.loads(
    Path(__file__).with_name("samples.json").read_text(encoding="utf-8")
)

_OPEN = frozenset({"$oid", "$date", "$code"})


def sample(collection: str, place: int = 0) -> Mapping[str, Any]:
    """A sample document of the specification."""
    found: Mapping[str, Any] = SAMPLES[collection][place]
    return found


def unexplained(
    wanted: Mapping[str, Any], document: Mapping[str, Any], elsewhere: Mapping[str, str]
) -> list[str]:
    """Paths of the sample that the document lacks, or has otherwise, and that `elsewhere` gives no reason for.

    A path in `elsewhere` stands for all below it. Where the specification leaves an id or a date open, or has a
    variable in place of a value, any will do.
    """
    return [
        path
        for path in _differing(wanted, document, "")
        if not any(path == known or path.startswith((f"{known}.", f"{known}[")) for known in elsewhere)
    ]


def plain(value: Any) -> Any:
    """A value of a sample as it is in an event: ids and dates as texts; open ones are left to the caller."""
    if isinstance(value, Mapping):
        if "$oid" in value or "$date" in value:
            return next(iter(value.values()))
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


def _differing(wanted: Any, found: Any, path: str) -> Iterator[str]:
    if isinstance(wanted, Mapping) and not _OPEN.isdisjoint(wanted):
        if not _is_such(wanted, found):
            yield path
    elif isinstance(wanted, Mapping):
        for name, value in wanted.items():
            inner = f"{path}.{name}" if path else name
            if not isinstance(found, Mapping) or name not in found:
                yield inner
            else:
                yield from _differing(value, found[name], inner)
    elif isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            yield path
        else:
            for place, value in enumerate(wanted):
                yield from _differing(value, found[place], f"{path}[]")
    elif wanted != found or isinstance(wanted, bool) is not isinstance(found, bool):
        yield path


def _is_such(wanted: Mapping[str, Any], found: Any) -> bool:
    [(kind, value)] = wanted.items()
    if kind == "$code":
        return found is not None
    if kind == "$oid":
        return isinstance(found, ObjectId) and value in (None, str(found))
    if not isinstance(found, datetime):
        return False
    return value is None or found == datetime.fromisoformat(value).replace(tzinfo=UTC)
