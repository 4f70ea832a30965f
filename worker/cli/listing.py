"""Queue items and dead letters as rows for people and as JSON for scripts, and what was done to them."""

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from bson import ObjectId
from rich.console import Console

from worker.app.exits import ExitCode
from worker.cli.ending import say_error
from worker.cli.tables import print_json, print_table
from worker.retry.dead_letters import Damaged, Kept
from worker.retry.selection import Entry, Group
from worker.words import counted

# What a person reads of a payload in a terminal; `--json` has all of it.
SHOWN_BYTES = 2_000


def print_groups(groups: Sequence[Group], *, as_json: bool) -> None:
    """One line per kind of failure."""
    if as_json:
        print_json([plain(asdict(group)) for group in groups])
        return
    rows = [
        (f"{each.count:,}", each.fingerprint, each.reason, each.message, age(each.oldest), each.example)
        for each in groups
    ]
    print_table(rows, ("number", "fingerprint", "reason", "message", "oldest", "for example"), empty=_NOTHING)


def print_items(entries: Sequence[Entry], *, as_json: bool) -> None:
    """One line per queue item."""
    if as_json:
        print_json([plain({**entry.document, "fingerprint": entry.fingerprint}) for entry in entries])
        return
    rows = []
    for entry in entries:
        item = entry.document
        state = (item["status"], str(item["retry_count"]), _due(item))
        rows.append((str(entry.id), *state, *_event(item), entry.reason, entry.message))
    columns = ("id", "status", "attempts", "due", "version", "event type", "event", "reason", "message")
    _print_first(rows, columns, len(rows))


def print_dead_letters(entries: Sequence[Entry], total: int) -> None:
    """One line per dead letter, of which these are the first of the `total`."""
    rows = []
    for entry in entries:
        letter = entry.document
        numbers = (f"{letter['size_bytes']:,}", age(entry.created_at), str(letter["redrives"]))
        rows.append((str(entry.id), entry.reason, letter["field"] or "", entry.message, *numbers))
    _print_first(rows, ("id", "reason", "field", "message", "bytes", "age", "redrives"), total)


def say_done(number: int, noun: str, done: str, *, dry_run: bool, as_json: bool) -> None:
    """Say to how many it was done, or would have been."""
    if as_json:
        print_json({done: number, "dry_run": dry_run})
    else:
        Console().print(f"{counted(number, noun)} {'would be ' if dry_run else ''}{done}.")


def code_for_named(ids: Collection[str], found: Collection[str], target: str) -> ExitCode:
    """OK if every id that was given is among those found; the others are named on stderr.

    A script that acts upon a misspelt id wants to know.
    """
    missing = [name for name in dict.fromkeys(ids) if name not in found]
    for name in missing:
        say_error(f"no {target} has the id {name}")
    return ExitCode.USAGE if missing else ExitCode.OK


def print_document(document: Mapping[str, Any] | None, what: str, *, as_json: bool) -> ExitCode:
    """Every field of one item or dead letter; an error for one that is not there."""
    if document is None:
        say_error(f"there is no {what}")
        return ExitCode.USAGE
    if as_json:
        print_json(plain(document))
    else:
        print_table([(name, cell(value)) for name, value in document.items()], ("field", "value"))
    return ExitCode.OK


def with_bytes(dead_letter: Mapping[str, Any], value: bytes | Damaged | None) -> dict[str, Any]:
    """A dead letter with the beginning of its bytes as text for people."""
    if isinstance(value, Damaged):
        return {**dead_letter, "damaged": value.reason}
    if value is None:
        return {**dead_letter, "value": None}
    text = value[:SHOWN_BYTES].decode("utf-8", "backslashreplace")
    cut = dead_letter["size_bytes"] - SHOWN_BYTES
    return {**dead_letter, "value": f"{text} ... and {counted(cut, 'byte')} more" if cut > 0 else text}


def with_everything(dead_letter: Mapping[str, Any], kept: Kept | Damaged) -> dict[str, Any]:
    """A dead letter with its key, headers and value, whole, for scripts."""
    if isinstance(kept, Damaged):
        return {**dead_letter, "damaged": kept.reason}
    headers = [{"key": name, "value": value} for name, value in kept.headers]
    return {**dead_letter, "key": kept.key, "headers": headers, "value": kept.value}


def plain(value: Any) -> Any:
    """As JSON knows it: dates in ISO 8601, ids as text, bytes as base64."""
    match value:
        case datetime():
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case UUID() | ObjectId():
            return str(value)
        case Mapping():
            return {str(name): plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return [plain(inner) for inner in value]
        case str() | int() | float() | bool() | None:
            return value
    return str(value)


_NOTHING = "Nothing waits here."
# What a person reads; whoever wants more narrows the list or lets a script read it.
LONGEST_TABLE = 200


def _print_first(rows: Sequence[tuple[str, ...]], columns: tuple[str, ...], total: int) -> None:
    print_table(rows[:LONGEST_TABLE], columns, empty=_NOTHING)
    if (more := total - LONGEST_TABLE) > 0:
        Console().print(f"... and {more:,} more: narrow the list, or use --group or --json.")


def cell(value: Any) -> str:
    """A value in a table: nothing for null, JSON for what has parts."""
    shown = plain(value)
    if shown is None:
        return ""
    return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)


def _event(item: Mapping[str, Any]) -> tuple[str, str, str]:
    """Where a stream stands: version, type and id of the event, as far as its item says so."""
    data = item.get("data")
    named = data if isinstance(data, Mapping) and item.get("stream_id") else {}
    values = item.get("version"), named.get("event_type"), named.get("event_id")
    version, kind, identity = ("" if value is None else str(value) for value in values)
    return version, kind, identity


def _due(item: Mapping[str, Any]) -> str:
    """When the next attempt may begin, for an item that waits for one."""
    due_at = item.get("due_at")
    if item["status"] != "pending":
        return ""
    seconds = (due_at - datetime.now(UTC)).total_seconds() if due_at is not None else 0.0
    return f"in {duration(seconds)}" if seconds > 0 else "now"


def age(made: datetime) -> str:
    """How long ago it was."""
    return duration((datetime.now(UTC) - made).total_seconds())


def duration(seconds: float) -> str:
    """In the largest unit that gives two or more, rounded down."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"
